"""Somebody who does not ask, but might: whom an operator's question is about.

The rooms that answer requests never come here (tests/architecture): what is supposed must not be mistaken for what was proven.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.core.elevation import Box, Evidence
from broker.core.identity import Identity
from broker.core.principal import Principal
from broker.core.roles import RoleName
from broker.core.rule import Address
from broker.core.scope import ScopeName

# A ticket that lasts longer than any credentials made with it: what is asked is what the rules say.
_TICKET_LEFT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class SupposedEvidence(Evidence):
    """``any_reason``: one that fits whatever is asked; ``approved``: by as many as are asked for; ``broken``: the glass."""

    any_reason: bool = False
    approved: bool = False
    broken: bool = False

    def has_reason(self, pattern: str) -> bool:
        """See ``Evidence``."""
        return self.any_reason or Evidence.has_reason(self, pattern)

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
        """See ``Evidence``."""
        if not (self.approved if approvals else self.broken):
            return None
        return Box(
            id="supposed",
            user=str(principal),
            role=role,
            scope=scope,
            terms=terms,
            reason="",
            ends=until + _TICKET_LEFT,
            approvers=frozenset(),
            is_broken_glass=not approvals,
        )


_NOTHING = SupposedEvidence()


@dataclass(frozen=True, slots=True)
class Supposed:
    """An asker and their circumstances. ``address`` None: a local socket.

    ``age`` is since they authenticated; ``job``, since the ticket behind a job pass was shown, where it is a pass that asks;
    ``evidence`` is what they show beside a ticket.
    """

    principal: Principal
    groups: frozenset[str] = frozenset()
    address: Address | None = None
    indicators: frozenset[str] = frozenset()
    age: timedelta = timedelta(0)
    bound: bool = False
    job: timedelta | None = None
    evidence: SupposedEvidence = _NOTHING

    @classmethod
    def named(cls, text: str) -> Principal:
        """A principal as ``klist`` prints it.

        Raises:
            MalformedPrincipal: It is none.
        """
        return Principal.parse(text)

    def identity(self, *, now: datetime) -> Identity:
        """What authentication would make of them."""
        return Identity(
            principal=self.principal,
            ticket_end=now + _TICKET_LEFT,
            authenticated_at=now - self.age,
            channel_bound=self.bound,
            indicators=self.indicators,
            groups=self.groups,
            mutual_token=None,
            delegated_at=None if self.job is None else now - self.job,
        )
