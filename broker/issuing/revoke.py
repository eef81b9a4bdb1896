"""What an operator can take from people, and give back; each with its record and a receipt that says what it does not reach.

``revoke_sessions``: what was made so far (sessions, job passes, cached credentials) is dead; a new ticket works at once.
``revoke_credentials``: nothing more is handed out until ``restore``: the answer is 403 ``revoked``. What AWS has handed out is
AWS's: it goes on until it expires, and the receipt says until when at the latest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from broker.audit.event import Event
from broker.audit.event import Kind as Happened
from broker.authz.policies import Policies
from broker.core.clock import Clock, rfc3339
from broker.core.errors import BadRequest
from broker.core.principal import MalformedPrincipal, canonical
from broker.core.roles import RoleName
from broker.issuing.ask import Ask, printable
from broker.revocation.epochs import Epochs
from broker.revocation.ledger import EVERY_ROLE, Entry, Kind, Subject

# Promised: every instance within a second. The receipt waits for their word this long, and names who has not given it.
_PATIENCE = timedelta(milliseconds=1_200)

_EVERYBODY = "*"


class Operators(Protocol):
    """Who may do such things, by whatever door they come."""

    def attempt(self, ask: Ask, *, action: str, resource: str) -> AbstractAsyncContextManager[Event]:
        """Bracket an operator's attempt with its record, which says who they are.

        Raises:
            BrokerError: Nobody, or nobody who may; or not recorded.
        """


@dataclass(frozen=True, slots=True)
class Revocation:
    """One that is known. ``user`` None: everybody. ``role`` None: all roles.

    ``state``: ``held`` (until it is restored), ``restored`` (at that time), ``ended`` (what was made before that time).
    """

    user: str | None
    role: str | None
    at: datetime
    by: str
    state: str

    def members(self) -> dict[str, Any]:
        """For JSON."""
        return {"user": self.user, "role": self.role, "at": rfc3339(self.at), "by": self.by, "state": self.state}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done, and what it does not reach.

    ``stopped`` and ``runs_on`` are sentences. ``aws_until`` is when the last credentials that AWS may have handed out before have
    expired. ``told`` is False where Redis did not take the news; ``not_heard`` are instances that have not said within a second
    that they know.
    """

    user: str | None
    role: str | None
    dry_run: bool
    at: datetime
    stopped: tuple[str, ...]
    runs_on: tuple[str, ...]
    aws_until: datetime | None
    told: bool
    not_heard: tuple[str, ...]

    def members(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "user": self.user,
            "role": self.role,
            "dry_run": self.dry_run,
            "at": rfc3339(self.at),
            "stopped": list(self.stopped),
            "runs_on": list(self.runs_on),
            "aws_until": rfc3339(self.aws_until) if self.aws_until else None,
            "told": self.told,
            "not_heard": list(self.not_heard),
        }


class Revocations:
    """What can be revoked, restored and listed."""

    def __init__(
        self, *, operators: Operators, epochs: Epochs, policies: Policies, realms: Iterable[str], clock: Clock
    ) -> None:
        """Take the parts; ``realms`` are those whose principals can come at all."""
        self._operators = operators
        self._epochs = epochs
        self._policies = policies
        self._realms = frozenset(realms)
        self._clock = clock

    async def revoke_sessions(
        self, ask: Ask, *, user: str | None = None, everybody: bool = False, dry_run: bool = False
    ) -> Receipt:
        """End all sessions, job passes and cached credentials of one person (``alice@EXAMPLE.COM``) or of everybody.

        Raises:
            BadRequest: Not exactly one of both, or no principal of a realm that is served.
            RevocationsUnavailable: It is not durable; until it is, it counts at this instance alone.
            BrokerError: What ``Operators.attempt`` raises.
        """
        async with self._attempt(ask, action="revoke_sessions", user=user) as event:
            if everybody == (user is not None):
                raise BadRequest(reason="revocation_of_whom", hint='name a "user", or "everybody": true, and not both')
            if user is None:
                subjects = [Subject(Kind.EVERYBODY)]
            else:
                user = self._known(user)
                subjects = [Subject(Kind.USER, user)]
            stopped = ("sessions", "job passes", "credentials kept for the next request")
            return await self._done(event, subjects, user=user, role=None, dry_run=dry_run, stopped=stopped)

    async def revoke_credentials(
        self, ask: Ask, *, user: str, role: str | None = None, dry_run: bool = False
    ) -> Receipt:
        """Give somebody nothing more until ``restore``: of one role, or at all; then their sessions and passes end too.

        Raises like ``revoke_sessions``, and BadRequest for a role that is none.
        """
        async with self._attempt(ask, action="revoke_credentials", user=user) as event:
            user = self._known(user)
            if role is None:
                subjects = [Subject(Kind.CREDENTIALS, user, EVERY_ROLE), Subject(Kind.USER, user)]
                stopped: tuple[str, ...] = ("new credentials of every role", "new sessions and job passes")
                stopped += ("sessions", "job passes", "credentials kept for the next request")
            else:
                self._require_role(role)
                event.role = role
                subjects = [Subject(Kind.CREDENTIALS, user, role)]
                stopped = (f"new credentials of {role}", "credentials kept for the next request")
            return await self._done(event, subjects, user=user, role=role, dry_run=dry_run, stopped=stopped)

    async def restore(self, ask: Ask, *, user: str) -> Receipt:
        """Lift all that ``revoke_credentials`` holds from somebody; what was ended stays ended. Raises like it.

        Raises:
            BadRequest: Nothing is held from them.
        """
        async with self._attempt(ask, action="restore", user=user) as event:
            user = self._known(user)
            held = [entry.subject for entry in self._epochs.entries if entry.held and _is_hold(entry, user)]
            if not held:
                raise BadRequest(
                    reason="nothing_to_restore",
                    hint=f"no credentials are revoked from {user}: see `zerotrust-admin revocations`",
                )
            told = await self._epochs.enter(held, by=_name_of(event), held=False)
            event.details |= {"about": user, "revocation_told": told}
            event.done(Happened.RESTORED)
            return self._receipt(user=user, role=None, dry_run=False, stopped=(), told=told)

    async def listing(self, ask: Ask) -> list[Revocation]:
        """All that is known, the latest first; single sessions that their holders ended are not in it. Raises like it."""
        async with self._attempt(ask, action="list_revocations", user=None) as event:
            event.shown()
            found = [_shown(entry) for entry in self._epochs.entries if entry.subject.kind is not Kind.SESSION]
            return sorted(found, key=lambda revocation: revocation.at, reverse=True)

    # ---- inside ----

    def _attempt(self, ask: Ask, *, action: str, user: str | None) -> AbstractAsyncContextManager[Event]:
        return self._operators.attempt(ask, action=action, resource=printable(user or _EVERYBODY))

    async def _done(
        self,
        event: Event,
        subjects: Sequence[Subject],
        *,
        user: str | None,
        role: str | None,
        dry_run: bool,
        stopped: tuple[str, ...],
    ) -> Receipt:
        event.details |= {"about": user or _EVERYBODY, "dry_run": dry_run}
        told, not_heard = True, []
        if not dry_run:
            told = await self._epochs.enter(subjects, by=_name_of(event))
            not_heard = await self._epochs.heard_everywhere(_PATIENCE)
            event.details |= {"revocation_told": told, "revocation_not_heard": not_heard}
        event.done(Happened.SHOWN if dry_run else Happened.REVOKED)
        return self._receipt(
            user=user, role=role, dry_run=dry_run, stopped=stopped, told=told, not_heard=tuple(not_heard)
        )

    def _receipt(
        self,
        *,
        user: str | None,
        role: str | None,
        dry_run: bool,
        stopped: tuple[str, ...],
        told: bool,
        not_heard: tuple[str, ...] = (),
    ) -> Receipt:
        now = self._clock.now()
        roles = [known for name, known in self._policies.current.roles.items() if role in (None, name)]
        longest = max((known.duration for known in roles), default=timedelta(0))
        until = now + longest if stopped else None
        runs_on: tuple[str, ...] = ()
        if until is not None:
            runs_on = (f"AWS sessions that were handed out go on until they expire, at the latest {rfc3339(until)}",)
            runs_on += tuple(f"{name}, who is somebody else: the rules name them so" for name in self._namesakes(user))
        return Receipt(
            user=user,
            role=role,
            dry_run=dry_run,
            at=now,
            stopped=stopped,
            runs_on=runs_on,
            aws_until=until,
            told=told,
            not_heard=not_heard,
        )

    def _namesakes(self, user: str | None) -> list[str]:
        """Those whom rules name as somebody whom none names, but for upper and lower case: one of the two may be a slip."""
        named = {str(each) for rule in self._policies.current.rules for each in rule.principals if each.is_literal}
        if user is None or user in named:
            return []
        return sorted(name for name in named if name.casefold() == user.casefold())

    def _known(self, text: str) -> str:
        """The principal's one spelling.

        Raises:
            BadRequest: No principal, a pattern, or of a realm that nobody comes from.
        """
        try:
            user = canonical(text)
        except MalformedPrincipal as error:
            raise BadRequest(str(error), reason="revocation_of_whom", hint="write the user as NAME@REALM") from error
        realm = user.rpartition("@")[2]
        if "*" in user:
            raise BadRequest(reason="revocation_of_whom", hint="name one principal: a * stands for nobody here")
        if realm not in self._realms and not any(entry.subject.user == user for entry in self._epochs.entries):
            served = ", ".join(sorted(self._realms))
            raise BadRequest(reason="revocation_of_whom", hint=f"no such realm is served; these are: {served}")
        return user

    def _require_role(self, role: str) -> None:
        roles = self._policies.current.roles
        if RoleName(role) not in roles:
            raise BadRequest(
                reason="revocation_of_what", hint=f"no role is called so; these are: {', '.join(sorted(roles))}"
            )


def _is_hold(entry: Entry, user: str) -> bool:
    return entry.subject.kind is Kind.CREDENTIALS and entry.subject.user == user


def _shown(entry: Entry) -> Revocation:
    subject = entry.subject
    return Revocation(
        user=subject.user or None,
        role=None if subject.which in ("", EVERY_ROLE) else subject.which,
        at=datetime.fromtimestamp(entry.stamp / 1000, UTC),
        by=entry.by,
        state="ended" if subject.kind is not Kind.CREDENTIALS else "held" if entry.held else "restored",
    )


def _name_of(event: Event) -> str:
    """Who does it: a principal, or an account of this host behind the local socket."""
    return str(event.principal) if event.principal else f"uid {event.details.get('peer_uid', 'unknown')}"
