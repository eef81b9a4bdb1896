"""The permission to fetch credentials: made by ``authz.policy.decide()`` and by nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from broker.core.elevation import Box
from broker.core.principal import Principal
from broker.core.roles import Role
from broker.core.scope import Scope
from broker.core.tags import SessionTag


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may have which role, by which rule of which policy, and for how long at the most.

    ``lifetime`` is the role's own duration, or less where the ticket ends before that. ``ends_at`` is set only in the second
    case (Unix seconds, whole minutes): it is then part of the credentials' cache name, so that a short-lived ticket
    never meets credentials that outlive it. ``tags`` and ``scope`` are what the session is to carry and to be limited by.
    ``box`` is the time box that it rests on, where it does; it ends no later.
    """

    principal: Principal
    role: Role
    rule: str
    policy_digest: str
    lifetime: timedelta
    ends_at: int | None
    tags: tuple[SessionTag, ...] = ()
    scope: Scope | None = None
    box: Box | None = None
