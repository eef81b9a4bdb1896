"""What an operator can take from people, and give back; each with its record and a receipt that says what it does not reach.

``revoke_sessions``: what was made so far (sessions, job passes, cached credentials) is dead; a new ticket works at once.
``revoke_credentials``: nothing more is handed out until ``restore``: the answer is 403 ``revoked``. What AWS has handed out is
AWS's: it goes on until it expires, and the receipt says until when at the latest. Where the operator asks for it, AWS denies it.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from broker.audit.event import Event
from broker.audit.event import Kind as Happened
from broker.authz.policies import Policies
from broker.core.clock import Clock, rfc3339
from broker.core.errors import AuditUnavailable, BadRequest
from broker.core.principal import MalformedPrincipal, canonical
from broker.core.roles import RoleName
from broker.issuing.ask import Ask, printable
from broker.issuing.denied import Outcome, Phase, targets, told, why
from broker.issuing.deny import Denies
from broker.issuing.receipt import Receipt, Revocation
from broker.revocation.epochs import Epochs
from broker.revocation.ledger import EVERY_ROLE, Entry, Kind, Subject

# Promised: every instance within a second. The receipt waits for their word this long, and names who has not given it.
_PATIENCE = timedelta(milliseconds=1_200)

_EVERYBODY = "*"
_IN_FORCE = (
    "the revocation is in force all the same, without a confirmed record: mend the audit log, then revoke once more"
)
_STAYS_DENIED = (
    "AWS sessions of before the revocation stay denied until they have expired; `restore --aws` lifts that too"
)


class Operators(Protocol):
    """Who may do such things, by whatever door they come."""

    def attempt(self, ask: Ask, *, action: str, resource: str) -> AbstractAsyncContextManager[Event]:
        """Bracket an operator's attempt with its record, which says who they are.

        Raises:
            BrokerError: Nobody, or nobody who may; or not recorded.
        """

    async def intend(self, ask: Ask, event: Event) -> None:
        """Put on record what they are about to give back.

        Raises:
            BrokerError: Not recorded, or they may no longer: nothing may be given back.
        """


class Revocations:
    """What can be revoked, restored and listed."""

    def __init__(
        self,
        *,
        operators: Operators,
        epochs: Epochs,
        denies: Denies,
        policies: Policies,
        realms: Iterable[str],
        clock: Clock,
    ) -> None:
        """Take the parts; ``realms`` are those whose principals can come at all."""
        self._operators = operators
        self._epochs = epochs
        self._denies = denies
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
            stopped = ("sessions", "job passes", "credentials kept for the next request", "time boxes")
            return await self._done(event, subjects, user=user, role=None, dry_run=dry_run, stopped=stopped)

    async def revoke_credentials(
        self, ask: Ask, *, user: str, role: str | None = None, dry_run: bool = False, aws: bool = False
    ) -> Receipt:
        """Give somebody nothing more until ``restore``: of one role, or at all; then their sessions and passes end too.

        With ``aws`` the roles deny what AWS has handed out so far, from when every instance has heard.

        Raises like ``revoke_sessions``, and BadRequest for a role that is none, or for ``aws`` where AWS cannot be asked: then
        nothing is done, for an operator who asked for both would take one for both.
        """
        async with self._attempt(ask, action="revoke_credentials", user=user) as event:
            user = self._known(user)
            self._require_aws(aws=aws)
            if role is None:
                subjects = [Subject(Kind.CREDENTIALS, user, EVERY_ROLE), Subject(Kind.USER, user)]
                stopped: tuple[str, ...] = ("new credentials of every role", "new sessions and job passes")
                stopped += ("sessions", "job passes", "credentials kept for the next request", "time boxes")
            else:
                self._require_role(role)
                event.role = role
                subjects = [Subject(Kind.CREDENTIALS, user, role)]
                stopped = (f"new credentials of {role}", "credentials kept for the next request", "time boxes")
            receipt = await self._done(event, subjects, user=user, role=role, dry_run=dry_run, stopped=stopped)
            return await self._denied(event, receipt) if aws else receipt

    async def restore(self, ask: Ask, *, user: str, aws: bool = False) -> Receipt:
        """Lift all that ``revoke_credentials`` holds from somebody; what was ended stays ended. Raises like it.

        So do their sessions at AWS of before: whoever stole one has it still. Only ``aws`` takes those denies away as well.

        Raises:
            BadRequest: Nothing is held from them.
        """
        async with self._attempt(ask, action="restore", user=user) as event:
            user = self._known(user)
            self._require_aws(aws=aws)
            held = [entry.subject for entry in self._epochs.entries if entry.held and _is_hold(entry, user)]
            denied = self._denies.subjects(user)
            if not held and not (aws and denied):
                raise BadRequest(
                    reason="nothing_to_restore",
                    hint=f"no credentials are revoked from {user}: see `zerotrust-admin revocations`",
                )
            event.details |= {"about": user, "aws": aws}
            await self._operators.intend(ask, event)
            told = await self._epochs.enter(held, by=_name_of(event), held=False) if held else True
            event.details["revocation_told"] = told
            event.done(Happened.RESTORED)
            receipt = self._receipt(user=user, role=None, dry_run=False, stopped=(), told=told)
            receipt = replace(receipt, runs_on=(_STAYS_DENIED,) * bool(denied))
            if aws:
                receipt = await self._lifted(event, receipt, user)
            return replace(receipt, runs_on=(*receipt.runs_on, *self._watched(user)))

    async def listing(self, ask: Ask) -> list[Revocation]:
        """All that operators revoked, the latest first. Raises like it."""
        async with self._attempt(ask, action="list_revocations", user=None) as event:
            event.shown()
            others = (Kind.SESSION, Kind.SUSPICION)
            found = [self._shown(entry) for entry in self._epochs.entries if entry.subject.kind not in others]
            return sorted(found, key=lambda revocation: revocation.at, reverse=True)

    # ---- at AWS ----

    def _require_aws(self, *, aws: bool) -> None:
        if aws and not self._denies.is_configured:
            raise BadRequest(
                reason="aws_revocation_not_configured",
                hint="nothing was done: set aws.revocation, as whom to deny at AWS (docs/revocation.md), or leave out --aws",
            )

    async def _denied(self, event: Event, receipt: Receipt) -> Receipt:
        user = receipt.user or ""
        wanted = targets(self._policies.current.roles, only=receipt.role)
        if receipt.dry_run:
            outcomes = await self._denies.look(user, wanted)
        else:
            outcomes = await self._denies.deny(user, wanted, by=_name_of(event))
        event.details |= _counted(outcomes)
        return replace(
            receipt, aws=told(wanted, outcomes, dry_run=receipt.dry_run), runs_on=self._goes_on(receipt, outcomes)
        )

    def _goes_on(self, receipt: Receipt, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
        """What the deny does not reach, in place of the first sentence, which says that nothing does."""
        until, (_, *others) = rfc3339(receipt.aws_until or receipt.at), receipt.runs_on
        found = [
            f"AWS makes a deny known everywhere within minutes; until then AWS sessions go on, at the latest until {until}"
        ]
        if any(not outcome.done and outcome.reason for outcome in outcomes):
            found.append(f"AWS sessions of roles that do not deny go on until they expire, at the latest {until}")
        if receipt.role is not None:
            found.append("AWS sessions of other roles go on until they expire")
        found.append(
            "sessions that were made with these, of roles that are none of the broker's, go on for an hour at the most"
        )
        return (*found, *others)

    async def _lifted(self, event: Event, receipt: Receipt, user: str) -> Receipt:
        outcomes = await self._denies.lift(user, by=_name_of(event))
        event.details |= _counted(outcomes)
        wanted = targets(self._policies.current.roles, only=None)
        said = ("AWS sessions of before the revocation that have not expired work again, whoever has them",) * bool(
            outcomes
        )
        return replace(receipt, aws=told(wanted, outcomes), runs_on=said)

    # ---- inside ----

    @asynccontextmanager
    async def _attempt(self, ask: Ask, *, action: str, user: str | None) -> AsyncIterator[Event]:
        """The bracket. What is revoked stays so without a record: taking access away waits for no disk."""
        done = None
        try:
            async with self._operators.attempt(ask, action=action, resource=printable(user or _EVERYBODY)) as done:
                yield done
        except AuditUnavailable as error:
            if done is None or done.kind is not Happened.REVOKED:
                raise
            raise AuditUnavailable(str(error), reason=error.reason, hint=_IN_FORCE) from error

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
            command = f"zerotrust-admin revoke-credentials --user {shlex.quote(user or 'PRINCIPAL')} --aws"
            until_then = f"until they expire, at the latest {rfc3339(until)}"
            runs_on = (f"AWS sessions that were handed out go on {until_then}; `{command}` denies them",)
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

    def _watched(self, user: str) -> list[str]:
        """Attempts of somebody who is revoked are an alert: without this an operator would take them for restored."""
        command = f"zerotrust-admin alerts clear --user {shlex.quote(user)}"
        return [
            f"the watch still keeps something from {user} ({which}); `{command}` lifts that"
            for which in self._epochs.suspicions(user)
        ]

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

    def _shown(self, entry: Entry) -> Revocation:
        subject = entry.subject
        known = Revocation(
            user=subject.user or None,
            role=None if subject.which in ("", EVERY_ROLE) else subject.which,
            at=datetime.fromtimestamp(entry.stamp / 1000, UTC),
            by=entry.by,
            state="ended" if subject.kind is not Kind.CREDENTIALS else "held" if entry.held else "restored",
        )
        if subject.kind is not Kind.AWS_DENY:
            return known
        outcome = self._denies.outcome(entry)
        until = datetime.fromtimestamp(entry.until, UTC) if outcome.phase is Phase.DENY else None
        return replace(known, state=outcome.state, until=until, why=why(outcome.reason) if outcome.reason else None)

    def _require_role(self, role: str) -> None:
        roles = self._policies.current.roles
        if RoleName(role) not in roles:
            raise BadRequest(
                reason="revocation_of_what", hint=f"no role is called so; these are: {', '.join(sorted(roles))}"
            )


def _counted(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """For the record: which roles, and which of them are not as they should be yet."""
    return {
        "aws_roles": [outcome.arn for outcome in outcomes],
        "aws_pending": [outcome.arn for outcome in outcomes if not outcome.done],
    }


def _is_hold(entry: Entry, user: str) -> bool:
    return entry.subject.kind is Kind.CREDENTIALS and entry.subject.user == user


def _name_of(event: Event) -> str:
    """Who does it: a principal, or an account of this host behind the local socket."""
    return str(event.principal) if event.principal else f"uid {event.details.get('peer_uid', 'unknown')}"
