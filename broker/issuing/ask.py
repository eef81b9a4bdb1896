"""Who asks: what a door knows of a request, and the one way from there to somebody known.

The record of the attempt is around all of it, and what is learned of the asker goes into it at once, also where they are refused.
"""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from types import TracebackType

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.authn import job_pass, session, spnego
from broker.authn.acceptor import Authenticator
from broker.authn.directory import Directories
from broker.authn.job_pass import JobPass, JobPasses
from broker.authn.replay import ReplayGuard
from broker.authn.session import Session, Sessions, Unopened
from broker.authz.limits import Limits
from broker.core.elevation import REASON_LENGTH_MAX
from broker.core.errors import AccessDenied, AuthFailed, AuthRequired, PassRefused
from broker.core.identity import Identity, UnverifiedProof, UnverifiedRequest
from broker.core.roles import ROLE_NAME, RoleName
from broker.core.rule import Address
from broker.core.scope import SCOPE_NAME, ScopeName
from broker.core.turnstile import Turnstile
from broker.revocation.epochs import Epochs
from broker.revocation.ledger import EVERY_ROLE

_VIA_JOB = "job_pass"
# Tickets, a quarter of a millisecond each: then the loop looks at what else is there.
_ACCEPTED_AT_ONCE = 16
# Whoever ends something is told what came of it, also where it reaches themselves.
_ENDINGS = (Kind.REVOKED, Kind.RESTORED, Kind.ENDED)


@dataclass(slots=True)
class Ask:
    """What a door knows of a request. ``identity`` is filled in once the asker is known, also if refused after that.

    ``cookie`` is a browser's session, where the request is one that a cookie counts for; ``opened`` is what was shown of that
    kind, once it opened. ``peer_uid`` is the account behind a local socket, as the kernel says; it proves nothing about who
    asks. ``request`` is the whole, where it may be signed. ``traceparent`` is what it says of a trace of its own.
    """

    authorization: str | None
    cookie: str | None
    proof: UnverifiedProof | None
    request_id: str
    source_ip: str | None
    address: Address | None
    binding: bytes | None
    identity: Identity | None = None
    opened: Session | None = None
    peer_uid: int | None = None
    request: UnverifiedRequest | None = None
    traceparent: str | None = None

    @property
    def session(self) -> Unopened | None:
        """What it shows instead of a ticket, if it does."""
        return session.shown(authorization=self.authorization, cookie=self.cookie)

    @property
    def job_pass(self) -> str | None:
        """The job pass that it shows, if it does."""
        return job_pass.shown(self.authorization)

    @property
    def is_ambient(self) -> bool:
        """Whether a browser could have sent it without anybody's wish: with its user's ticket, a cookie, or nothing."""
        return self.job_pass is None and (self.session is None or self.authorization is None)


class _Attempt:
    """See ``Entrance.attempt``."""

    __slots__ = ("_ask", "_audit", "_epochs", "_event", "_since")

    def __init__(self, ask: Ask, event: Event, *, audit: AuditLog, epochs: Epochs) -> None:
        self._ask, self._event = ask, event
        self._audit, self._epochs = audit, epochs
        self._since = 0

    async def __aenter__(self) -> Event:
        ask, event = self._ask, self._event
        # Without a ticket or session nobody has attempted anything yet: the client is challenged and nothing is written.
        if ask.authorization is None and ask.cookie is None:
            raise AuthRequired(reason="no_token")
        event.traceparent = ask.traceparent
        if ask.peer_uid is not None:
            event.details["peer_uid"] = ask.peer_uid
        self._since = self._epochs.mark()
        return event

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        event, identity = self._event, self._ask.identity
        async with self._audit.attempt(event):
            if error is not None:
                raise error
            if identity is not None and event.kind not in _ENDINGS and not event.is_irrevocable:
                self._epochs.require(identity.principal, role=event.role or EVERY_ROLE, since=self._since)


class Entrance:
    """Names whoever asks, or raises."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        directories: Directories,
        replay_guard: ReplayGuard,
        sessions: Sessions,
        passes: JobPasses,
        limits: Limits,
        epochs: Epochs,
        audit: AuditLog,
    ) -> None:
        self._authenticator = authenticator
        self._directories = directories
        self._replay_guard = replay_guard
        self._sessions = sessions
        self._passes = passes
        self._limits = limits
        self._epochs = epochs
        self._audit = audit
        self._turnstile = Turnstile(most=_ACCEPTED_AT_ONCE)

    def attempt(self, ask: Ask, *, action: str, resource: str) -> AbstractAsyncContextManager[Event]:
        """Bracket one attempt: its record is written whatever happens inside, before anybody hears of the outcome.

        Whoever was revoked while it lasted gets nothing of it, however far it came.
        """
        event = Event(action=action, resource=printable(resource), request_id=ask.request_id, source_ip=ask.source_ip)
        return self.attempting(ask, event)

    def attempting(self, ask: Ask, event: Event) -> AbstractAsyncContextManager[Event]:
        """The same, with an event of the caller's making."""
        return _Attempt(ask, event, audit=self._audit, epochs=self._epochs)

    async def known(self, ask: Ask, event: Event) -> Identity:
        """Who shows a ticket or a session, with every group that a rule may mean."""
        unopened = ask.session
        if unopened is None:
            return await self.present(ask, event)
        return await self._directories.complete((await self._by_session(unopened, ask, event)).identity)

    async def present(self, ask: Ask, event: Event) -> Identity:
        """Who shows a ticket and nothing else, with every group that a rule may mean."""
        # Refused before AWS is asked for what could not be kept.
        self._sessions.require_keys()
        return await self._directories.complete(await self.by_ticket(ask, event))

    async def owner_of(self, ask: Ask, event: Event, *, role: str) -> Identity:
        """The same; or whose job it is that shows a pass for this role."""
        if ask.job_pass is None:
            return await self.known(ask, event)
        shown = await self.by_pass(ask, event)
        if shown.role != role:
            raise AccessDenied(reason="pass_other_role")
        return shown.identity

    async def by_ticket(self, ask: Ask, event: Event) -> Identity:
        """Who shows a ticket and nothing else, as the ticket says."""
        if ask.job_pass is not None:
            event.details["via"] = _VIA_JOB
            raise PassRefused(reason="pass_not_here", hint="a job pass fetches its role's credentials and nothing else")
        event.details["via"] = "ticket"
        await self._turnstile.enter()
        started = time.perf_counter()
        token = spnego.unverified_token(ask.authorization)
        authenticator = spnego.authenticator(token)
        identity = self._authenticator.accept(token, binding=ask.binding)
        event.measures["spnego"] = event.took("accept", started)
        event.asked_by(identity)
        spending = time.perf_counter()
        await self._replay_guard.spend(authenticator)
        event.took("replay_guard", spending)
        return await self._let_in(identity, ask)

    async def by_pass(self, ask: Ask, event: Event) -> JobPass:
        """The job pass that is shown, with every group of its owner that a rule may mean."""
        event.details["via"] = _VIA_JOB
        if ask.job_pass is None:
            raise PassRefused(reason="pass_missing", hint="send the job pass as Authorization")
        opened = self._passes.open(ask.job_pass)
        event.asked_by(opened.identity)
        event.details["pass_id"] = opened.id
        await self._passes.check(opened, ask.address)
        return replace(opened, identity=await self._directories.complete(await self._let_in(opened.identity, ask)))

    async def by_session(self, ask: Ask, event: Event) -> Session:
        """The session that is shown, with the proof that its kind needs."""
        if ask.session is None:
            raise AuthFailed(reason="session_missing", hint="show the session")
        return await self._by_session(ask.session, ask, event)

    async def _by_session(self, unopened: Unopened, ask: Ask, event: Event) -> Session:
        event.details["via"] = unopened.kind.value
        opened = self._sessions.open(unopened)
        event.asked_by(opened.identity)
        await self._sessions.prove(opened, ask.proof)
        await self._let_in(opened.identity, ask)
        ask.opened = opened
        return opened

    def require_still(self, identity: Identity) -> None:
        """To be asked before something is done that no later refusal undoes. Raises Revoked."""
        self._epochs.require(identity.principal)

    async def intend(self, ask: Ask, event: Event) -> None:
        """Put on record what whoever is known now is about to do; then they must be in good standing still. Raises Revoked."""
        await self._audit.record(event.intent())
        if ask.identity is not None:
            self.require_still(ask.identity)

    async def _let_in(self, identity: Identity, ask: Ask) -> Identity:
        """Whoever is known by now, unless they come too often or their access is revoked."""
        ask.identity = identity
        await self._limits.principal(identity.principal)
        self._epochs.require(identity.principal)
        return identity


def role_named(text: str) -> RoleName:
    """What a client calls a role.

    Raises:
        AccessDenied: No role is called so; in the same words as of a role that is refused.
    """
    if not ROLE_NAME.fullmatch(text):
        raise AccessDenied(reason="role_malformed")
    return RoleName(text)


def scope_named(text: str | None) -> ScopeName | None:
    """What a client calls a scope; None where it wants the whole role. Raises like ``role_named``."""
    if text is not None and not SCOPE_NAME.fullmatch(text):
        raise AccessDenied(reason="scope_malformed")
    return None if text is None else ScopeName(text)


def name_wanted(event: Event, role: str, scope: str | None, reason: str | None) -> None:
    """What is asked for, and why, in the asker's words."""
    event.role = printable(role)
    if scope is not None:
        event.details["scope"] = printable(scope)
    if reason is not None:
        event.details["stated_reason"] = printable(reason, longest=REASON_LENGTH_MAX)


def printable(text: str, *, longest: int = 64) -> str:
    """What a client wrote, fit for a record: bounded, and without characters that a terminal would obey."""
    text = text[:longest]
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
