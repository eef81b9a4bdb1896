"""THE WAY: from a ticket, or a session made with one, to credentials, every step of it on this page.

    ask -> authenticate -> authorise -> cache -> (miss) intent, STS role chain -> audit -> answer

Each step either ends in what the next one needs or raises; a step's answer cannot be ignored. The record of the outcome is
on stable storage before ``issue`` returns or raises, whatever the outcome is.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.authn import session, spnego
from broker.authn.acceptor import Authenticator
from broker.authn.directory import Directories
from broker.authn.replay import ReplayGuard
from broker.authn.session import Sessions, Unopened
from broker.authz.limits import Limits
from broker.authz.policy import Address, Policy, decide
from broker.cache.sealed import CredentialCache
from broker.cache.single_flight import SingleFlight
from broker.core.clock import Clock
from broker.core.credentials import Credentials
from broker.core.errors import AccessDenied, AuthRequired
from broker.core.grant import Grant
from broker.core.identity import Identity, SealedSession, UnverifiedProof
from broker.core.roles import ROLE_NAME, Role, RoleName
from broker.sts.client import StsClient


@dataclass(slots=True)
class Ask:
    """What a door knows of a request. ``identity`` is filled in once the asker is known, also if refused after that.

    ``cookie`` is a browser's session, where the request is one that a cookie counts for. ``peer_uid`` is the account behind a
    local socket, as the kernel says; it proves nothing about who asks.
    """

    authorization: str | None
    cookie: str | None
    proof: UnverifiedProof | None
    request_id: str
    source_ip: str | None
    address: Address | None
    binding: bytes | None
    identity: Identity | None = None
    peer_uid: int | None = None

    @property
    def session(self) -> Unopened | None:
        """What it shows instead of a ticket, if it does."""
        return session.shown(authorization=self.authorization, cookie=self.cookie)


@dataclass(frozen=True, slots=True)
class Standing:
    """Who somebody is to the broker, and what they may have; with a cookie for the next time, where one was asked for."""

    identity: Identity
    roles: list[Role]
    cookie: SealedSession | None


class Issuer:
    """The broker itself, without its doors."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        directories: Directories,
        replay_guard: ReplayGuard,
        sessions: Sessions,
        limits: Limits,
        policy: Policy,
        cache: CredentialCache,
        sts: StsClient,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._authenticator = authenticator
        self._directories = directories
        self._replay_guard = replay_guard
        self._sessions = sessions
        self._limits = limits
        self._policy = policy
        self._cache = cache
        self._sts = sts
        self._audit = audit
        self._clock = clock
        self._flights: SingleFlight[Credentials] = SingleFlight()

    async def issue(self, ask: Ask, *, role: str) -> Credentials:
        """Credentials for a role, to the sender of a ticket or the holder of a session.

        Raises:
            BrokerError: Nobody, not allowed, not available, or not recorded.
        """
        async with self._attempt(ask, action="get_credentials", resource=role) as event:
            event.role = _printable(role)
            identity = await self._directories.complete(await self._authenticate(ask, event))
            grant = self._authorise(ask, identity, role)
            credentials = await self._cached(grant, event)
            if credentials is None:
                credentials = await self._minted(grant, event)
        return credentials

    async def standing(self, ask: Ask, *, action: str, remember: bool = False) -> Standing:
        """Who somebody is, and which roles are theirs; ``remember`` makes a cookie of a ticket. Raises like ``issue``."""
        async with self._attempt(ask, action=action, resource="self") as event:
            identity = await self._directories.complete(await self._authenticate(ask, event))
            cookie = self._sessions.for_browser(identity) if remember and ask.session is None else None
            event.shown()
        return Standing(identity=identity, roles=self._policy.roles_for(identity, ask.address), cookie=cookie)

    async def open_session(self, ask: Ask) -> SealedSession:
        """A session for the sender of a ticket; a session makes no session. Raises like ``issue``."""
        async with self._attempt(ask, action="open_session", resource="self") as event:
            made = await self._sessions.made(await self._by_ticket(ask, event), proof=ask.proof)
            event.shown()
        return made

    async def drain(self) -> None:
        """Wait for the chains under way, so that what AWS made is recorded."""
        await self._flights.drain()

    @asynccontextmanager
    async def _attempt(self, ask: Ask, *, action: str, resource: str) -> AsyncIterator[Event]:
        # Without a ticket or session nobody has attempted anything yet: the client is challenged and nothing is written.
        if ask.authorization is None and ask.cookie is None:
            raise AuthRequired(reason="no_token")
        event = Event(action=action, resource=_printable(resource), request_id=ask.request_id, source_ip=ask.source_ip)
        if ask.peer_uid is not None:
            event.details["peer_uid"] = ask.peer_uid
        async with self._audit.attempt(event):
            yield event

    async def _authenticate(self, ask: Ask, event: Event) -> Identity:
        unopened = ask.session
        return await (self._by_session(unopened, ask, event) if unopened else self._by_ticket(ask, event))

    async def _by_session(self, unopened: Unopened, ask: Ask, event: Event) -> Identity:
        event.details["via"] = unopened.kind.value
        opened = self._sessions.open(unopened)
        event.asked_by(opened.identity)
        await self._sessions.prove(opened, ask.proof)
        ask.identity = opened.identity
        await self._limits.principal(opened.identity.principal)
        return opened.identity

    async def _by_ticket(self, ask: Ask, event: Event) -> Identity:
        event.details["via"] = "ticket"
        started = time.perf_counter()
        token = spnego.unverified_token(ask.authorization)
        authenticator = spnego.authenticator(token)
        identity = self._authenticator.accept(token, binding=ask.binding)
        event.measures["spnego"] = time.perf_counter() - started
        event.asked_by(identity)
        await self._replay_guard.spend(authenticator)
        ask.identity = identity
        await self._limits.principal(identity.principal)
        return identity

    def _authorise(self, ask: Ask, identity: Identity, role: str) -> Grant:
        if not ROLE_NAME.fullmatch(role):
            raise AccessDenied(reason="role_malformed")
        return decide(
            self._policy,
            identity=identity,
            role=RoleName(role),
            address=ask.address,
            now=self._clock.now(),
        )

    async def _cached(self, grant: Grant, event: Event) -> Credentials | None:
        """What the cache has. Where that is due for renewal, a new set is on its way to those who come later."""
        credentials = await self._cache.find(grant)
        if credentials is None:
            return None
        if self._cache.is_due(grant, credentials):
            # Nobody waits for it: STS may hang, and what is left of the old set is still more than a quarter of an hour.
            self._flights.begin(self._cache.name(grant), lambda: self._fetch(grant, event))
        event.issued(credentials, origin="cache")
        return credentials

    async def _minted(self, grant: Grant, event: Event) -> Credentials:
        """A new set, fetched once for everybody who waits for the same one."""
        credentials, fetched = await self._flights.do(self._cache.name(grant), lambda: self._fetch(grant, event))
        event.issued(credentials, origin="sts" if fetched else "cache")
        return credentials

    async def _fetch(self, grant: Grant, event: Event) -> Credentials:
        intent = Event(
            action=event.action,
            resource=event.resource,
            request_id=event.request_id,
            source_ip=event.source_ip,
            kind=Kind.INTENT,
            success=True,
            reason=None,
            principal=grant.principal,
            role=grant.role.name,
            account=grant.role.target.account,
            source_identity=event.source_identity,
            details={"rule": grant.rule},
        )
        await self._audit.record(intent)
        started = time.perf_counter()
        try:
            credentials = await self._sts.assume(grant)
        finally:
            event.measures["sts"] = time.perf_counter() - started
        await self._cache.keep(grant, credentials)
        return credentials


def _printable(text: str) -> str:
    """What a client wrote, fit for a record: bounded, and without characters that a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text[:64])
