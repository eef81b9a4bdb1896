"""What somebody adds to a ticket to have a role: a reason, or a time box that others approved or that was broken open.

A box is opened for one person, one role, one scope, under the terms of one rule as it was written then; it is for nothing else,
and what is handed out by it ends with it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from broker.core.principal import Principal
from broker.core.roles import RoleName
from broker.core.scope import ScopeName

# Characters, as in ``wire``: and what patterns are held against, which bounds their time.
REASON_LENGTH_MAX = 200
# Where a rule does not say.
BOX_DEFAULT = timedelta(hours=1)
# Approvals that a rule may ask for.
APPROVALS_MAX = 5
# Patterns in force at once; beyond, they are compiled anew.
_COMPILED = 256


@dataclass(frozen=True, slots=True)
class Box:
    """A time box that is open until ``ends``.

    ``user`` is whose it is, as printed; ``terms`` what the rule, the role and the scope were when it was asked for;
    ``approvers`` are people (``person()``), each once.
    """

    id: str
    user: str
    role: RoleName
    scope: ScopeName | None
    terms: str
    reason: str
    ends: datetime
    approvers: frozenset[str]
    is_broken_glass: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is shown beside a ticket. ``unknown``: why nobody can say which boxes are open."""

    reason: str | None = None
    boxes: tuple[Box, ...] = ()
    unknown: str | None = None

    def has_reason(self, pattern: str) -> bool:
        """Whether a reason is given that begins as the pattern says."""
        return self.reason is not None and fits(pattern, self.reason)

    def box(
        self,
        principal: Principal,
        role: RoleName,
        scope: ScopeName | None,
        *,
        terms: str,
        approvals: int,
        until: datetime,
    ) -> Box | None:
        """The box for exactly this, approved by so many others, that lasts until then; broken glass where nobody need approve."""
        for box in self.boxes:
            is_for_this = (box.user, box.role, box.scope, box.terms) == (str(principal), role, scope, terms)
            others = box.approvers - {person(principal)}
            is_granted = len(others) >= approvals if approvals else box.is_broken_glass
            if is_for_this and is_granted and box.ends >= until:
                return box
        return None


def person(principal: Principal) -> str:
    """Who is behind a principal, as far as names tell: ``alice`` and ``alice/admin`` of one realm are one person."""
    return person_named(principal.components, principal.realm)


def person_named(components: tuple[str, ...], realm: str) -> str:
    """The same, by the parts of a name."""
    return json.dumps([components[0], realm])


def fits(pattern: str, reason: str) -> bool:
    """Whether a reason begins as a pattern says; the empty pattern takes any."""
    return _compiled(pattern).match(reason[:REASON_LENGTH_MAX]) is not None


@lru_cache(maxsize=_COMPILED)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
