"""THE WAY: from a ticket, or a session or job pass made with one, to credentials, every step of it on this page.

    ask -> authenticate -> authorise -> cache -> (miss) intent, STS role chain -> audit -> answer

Each step either ends in what the next one needs or raises; a step's answer cannot be ignored. The record of the outcome is
on stable storage before ``issue`` returns or raises, whatever the outcome is.
"""

from __future__ import annotations

import time
from datetime import timedelta

from broker.audit.event import Event
from broker.audit.log import AuditLog
from broker.authz.policies import Policies
from broker.authz.policy import decide
from broker.cache.refusals import Refusals
from broker.cache.sealed import CredentialCache
from broker.cache.single_flight import SingleFlight
from broker.core.clock import Clock
from broker.core.credentials import Credentials
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.secret import Secret
from broker.issuing.ask import Ask, Entrance, name_wanted, role_named, scope_named
from broker.issuing.boxes import Boxes, name_box
from broker.issuing.uses import Uses
from broker.revocation.epochs import Epochs
from broker.revocation.holds import Holds
from broker.sts.client import StsClient
from broker.sts.console import Console

_NOTHING = timedelta(0)
# A console ends with the credentials it was opened with, and nothing renews it: at least so much of a role's time is ahead of it.
_OF_A_CONSOLE = 0.75


class Issuer:
    """The broker itself, without its doors."""

    def __init__(
        self,
        *,
        entrance: Entrance,
        boxes: Boxes,
        epochs: Epochs,
        holds: Holds,
        policies: Policies,
        cache: CredentialCache,
        sts: StsClient,
        console: Console,
        uses: Uses,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._entrance = entrance
        self._boxes = boxes
        self._epochs = epochs
        self._holds = holds
        self._policies = policies
        self._cache = cache
        self._sts = sts
        self._console = console
        self._uses = uses
        self._audit = audit
        self._clock = clock
        self._flights: SingleFlight[tuple[Credentials, str]] = SingleFlight()
        self._refusals = Refusals(clock=clock)

    @property
    def fetches(self) -> int:
        """Sets of credentials that are being fetched."""
        return self._flights.number

    async def issue(self, ask: Ask, *, role: str, scope: str | None = None, reason: str | None = None) -> Credentials:
        """Credentials for a role, or for one of its scopes.

        They go to the sender of a ticket, or to the holder of a session or of a job pass for this role.

        Raises:
            BrokerError: Nobody, not allowed, not available, or not recorded.
        """
        async with self._entrance.attempt(ask, action="get_credentials", resource=role) as event:
            name_wanted(event, role, scope, reason)
            identity = await self._entrance.owner_of(ask, event, role=role)
            grant = await self._authorise(ask, identity, role, scope, reason, event=event)
            credentials = await self._credentials(grant, identity, event)
        self._uses.had(identity.principal, event)
        return credentials

    async def open_console(
        self,
        ask: Ask,
        *,
        role: str,
        scope: str | None,
        destination: str | None,
        issuer: str | None,
        reason: str | None = None,
    ) -> Secret:
        """A URL that opens the AWS console with them: a secret. Raises like ``issue``, and where AWS does not sign in."""
        async with self._entrance.attempt(ask, action="open_console", resource=role) as event:
            name_wanted(event, role, scope, reason)
            identity = await self._entrance.known(ask, event)
            grant = await self._authorise(ask, identity, role, scope, reason, event=event)
            credentials = await self._credentials(grant, identity, event, at_least=grant.lifetime * _OF_A_CONSOLE)
            url = await self._console.url(credentials, destination=destination, issuer=issuer)
        self._uses.had(identity.principal, event)
        return url

    async def drain(self) -> None:
        """Wait for the chains under way, so that what AWS made is recorded."""
        await self._flights.drain()

    async def _authorise(
        self, ask: Ask, identity: Identity, role: str, scope: str | None, reason: str | None, *, event: Event
    ) -> Grant:
        began = time.perf_counter()
        name = role_named(role)
        evidence = await self._boxes.evidence(identity, role=name, address=ask.address, reason=reason)
        grant = decide(
            self._policies.current,
            identity=identity,
            role=name,
            scope=scope_named(scope),
            address=ask.address,
            now=self._clock.now(),
            evidence=evidence,
        )
        self._epochs.require(grant.principal, role=grant.role.name)
        self._holds.require_none(identity)
        event.took("decide", began)
        return grant

    async def _credentials(
        self, grant: Grant, identity: Identity, event: Event, *, at_least: timedelta = _NOTHING
    ) -> Credentials:
        event.details["rule"] = grant.rule
        name_box(event, grant.box)
        found = await self._cached(grant, event, at_least) or await self._minted(grant, event, at_least)
        self._boxes.require_open(grant)
        self._holds.require_none(identity)
        return found

    async def _cached(self, grant: Grant, event: Event, at_least: timedelta) -> Credentials | None:
        """What the cache has. Where that is due for renewal, a new set is on its way to those who come later."""
        began = time.perf_counter()
        held = self._cache.find(grant)
        event.took("cache", began)
        if held is None or held.left < at_least:
            return None
        if self._cache.is_due(grant, held) and not self._refusals.puts_off(name := self._cache.name(grant)):
            # Nobody waits for it: STS may hang, and what is left of the old set is still more than a quarter of an hour.
            self._flights.begin(name, lambda: self._renew(grant, event.renewal()))
        event.issued(held.credentials, origin="cache")
        return held.credentials

    async def _minted(self, grant: Grant, event: Event, at_least: timedelta) -> Credentials:
        """A new set, fetched once for everybody who waits for the same one, here and at the other instances."""
        name = self._cache.name(grant)
        self._refusals.check(name)
        (credentials, origin), leads = await self._flights.do(name, lambda: self._fetch(grant, event, at_least))
        event.issued(credentials, origin=origin if leads else "cache")
        return credentials

    async def _renew(self, grant: Grant, event: Event) -> tuple[Credentials, str]:
        """A new set ahead of time: an attempt of its own, whose outcome is on record although nobody hears of it."""
        with self._refusals.renewal(self._cache.name(grant)):
            async with self._audit.attempt(event):
                credentials, origin = await self._fetch(grant, event, _NOTHING)
                event.fetched(credentials, origin=origin)
        return credentials, origin

    async def _fetch(self, grant: Grant, event: Event, at_least: timedelta) -> tuple[Credentials, str]:
        """A new set, and where it is from: ``sts``, or the ``cache`` that another instance has filled meanwhile."""
        began = time.perf_counter()
        async with self._cache.turn(grant, at_least=at_least) as turn:
            event.took("turn", began)
            if turn.found is not None:
                return turn.found, "cache"
            began = time.perf_counter()
            await self._audit.record(event.intent(rule=grant.rule, account=grant.role.target.account))
            event.took("intent", began)
            started = time.perf_counter()
            try:
                with self._refusals.remembered(self._cache.name(grant)):
                    credentials = await self._sts.assume(
                        grant, event=event.request_id, waited=turn.waited, took=event.took
                    )
            finally:
                event.measures["sts"] = event.took("chain", started)
            if credentials.packed_percent is not None:
                event.measures["packed"] = credentials.packed_percent / 100
            await turn.keep(credentials)
        return credentials, "sts"
