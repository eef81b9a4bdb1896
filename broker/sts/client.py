"""Walks role chains: hop after hop, each in the region that answers, within the time and the rate that there are.

This is the only place that decides whether, where and when a call is tried again (docs/aws.md, "Calling STS"):

- a refusal is final, and so is an answer of STS that cannot be believed;
- a region that hangs, is broken or out of reach, or answers with something else than STS: the next region;
- throttled: once more in the same region after a pause, then the next region, whose quota is its own;
- base credentials that have ended: new ones, and the chain from its beginning, once;
- no room for a session's tags: the chain from its beginning without the optional ones, once.

Three tries of a call at the most (or one in each region), and 4.5 s for everything. Each try counts against the rate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from botocore.credentials import ReadOnlyCredentials

from broker.core.clock import Clock
from broker.core.credentials import Credentials
from broker.core.errors import Overloaded, StsError, StsRejected, StsTimeout, StsUnavailable
from broker.core.fault import Fault
from broker.core.grant import Grant
from broker.core.rate import Rate
from broker.sts.base import BaseCredentials, Signing
from broker.sts.budget import Budget
from broker.sts.chain import Call, believe, plan, shed
from broker.sts.endpoint import Endpoint, Region, endpoints
from broker.sts.refusals import (
    BASE_EXPIRED,
    BASE_REFUSED,
    MALFORMED,
    NO_BASE,
    NO_ROOM,
    OF_THE_REGION,
    OUR_OWN,
    THROTTLED,
    TIMEOUT,
)
from broker.sts.regions import Regions
from broker.sts.web_identity import TokenIssuer

# The whole chain, tries and pauses included: a client is promised an answer within 5 s.
DEADLINE = timedelta(seconds=4.5)
_NOT_AT_ALL = timedelta(0)
# AWS answers in a tenth of a second. One region alone is given up early enough for a second try.
_LONGEST_TRY = timedelta(seconds=2.5)
# AWS's advice for `Throttling` is to back off; three tries and these pauses end within 3 s.
_TRIES = 3
_PAUSES = (timedelta(seconds=0.5), timedelta(seconds=1))

_NO_REGION = ""
# What a call failed of, by region; without a region where none was asked in time.
OnFailure = Callable[[str, str], None]
# That something is over, by name, and when it began (perf_counter).
Took = Callable[[str, float], object]


class StsClient:
    """What makes the calls of a chain."""

    def __init__(
        self,
        *,
        regions: Sequence[Region],
        base: BaseCredentials,
        rate: Rate,
        clock: Clock,
        chance: Callable[[], float],
        on_failure: OnFailure,
    ) -> None:
        """Build the clients.

        Args:
            regions: The preferred one first; all of one partition. Each gets an equal share of the time there is.
            base: The broker's own credentials, asked for at each chain.
            rate: So many calls at the most.
            clock: Judges the expiry in answers.
            chance: Evenly distributed from 0 to 1, so that those who were throttled together do not come back together.
            on_failure: Told of each call that failed.
        """
        self._endpoints = Regions(endpoints(regions, patience=min(_LONGEST_TRY, DEADLINE / len(regions))), clock=clock)
        self._tries = max(_TRIES, len(regions))
        self._base = base
        self._budget = Budget(rate=rate)
        self._clock = clock
        self._chance = chance
        self._on_failure = on_failure
        self._own_failure: str | None = None
        # How often each region was asked.
        self.calls = {region.name: 0 for region in regions}

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return self._budget.waiting

    @property
    def places(self) -> int:
        """So many chains may wait to begin; one more is refused."""
        return self._budget.places

    async def assume(
        self, grant: Grant, *, event: str | None = None, waited: timedelta = _NOT_AT_ALL, took: Took | None = None
    ) -> Credentials:
        """Walk the chain of a grant, to the last hop's credentials, in what is left of ``DEADLINE`` after having ``waited``.

        ``event`` is the id of the request that it is walked for: what ``{event}`` in a tag becomes, and their ``minted_by``.
        ``took`` is told when each hop began, as soon as it is over.

        Raises:
            StsRejected: STS refused a hop, or its answer cannot be believed. Nothing of earlier hops survives.
            StsUnavailable: Throttled to the end, broken, or out of reach; or the broker's own credentials are.
            StsTimeout: No answer in time.
            Overloaded: More chains wait than can be walked in time.
        """
        credentials = await self.walk(plan(grant, event=event), owner=grant.principal, waited=waited, took=took)
        return replace(credentials, minted_by=event)

    async def walk(
        self, calls: Sequence[Call], *, owner: Hashable, waited: timedelta = _NOT_AT_ALL, took: Took | None = None
    ) -> Credentials:
        """The credentials of the last of these calls, each signed with the one before; ``owner`` is whose turn it takes.

        What is for people comes of a grant, by ``assume``; this is for what the broker does of its own. Raises like it.
        """
        try:
            async with asyncio.timeout((DEADLINE - waited).total_seconds()):
                credentials = await self._chain(calls, owner, took)
        except TimeoutError as error:
            self._on_failure(_NO_REGION, TIMEOUT)
            raise StsTimeout("no answer from STS in time", reason=TIMEOUT) from error
        except Overloaded as error:
            self._on_failure(_NO_REGION, error.reason)
            raise
        except StsUnavailable as error:
            if error.reason in OUR_OWN:
                self._own_failure = error.reason
            raise
        self._own_failure = None
        return credentials

    async def one(self, call: Call, *, by: Credentials | None, place: int) -> Credentials:
        """One call alone, signed with the session before it, or with the broker's own credentials; for the probe of external IDs.

        Raises:
            StsError: As for ``assume()``.
        """
        try:
            async with asyncio.timeout(DEADLINE.total_seconds()):
                await self._budget.go_on()
                signing = await self._base.current() if by is None else _keys_of(by)
                answer = await self._ask(call, signing, place)
        except TimeoutError as error:
            raise StsTimeout("no answer from STS in time", reason=TIMEOUT) from error
        return believe(call, answer, now=self._clock.now())

    async def caller(self) -> str:
        """The ARN under which AWS knows the broker's own credentials, which are not tokens.

        Raises:
            StsError: As for ``assume()``.
        """
        signing = await self._base.current()
        if isinstance(signing, TokenIssuer):
            raise StsRejected("the broker has no credentials of its own", reason=NO_BASE)
        arn = (await self._endpoints.in_order()[0].caller(signing=signing)).get("Arn")
        if not isinstance(arn, str):
            raise StsRejected("no Arn in STS's answer", reason=MALFORMED)
        return arn

    async def ping(self) -> str | None:
        """None, or which regions failed their last call and how, or what is wrong with us. A refusal is not an illness."""
        failures = self._endpoints.failures()
        reasons = [*failures.values(), *([self._own_failure] if self._own_failure else [])]
        said = [f"{region}: {reason}" for region, reason in failures.items()] + reasons[len(failures) :]
        return Fault(", ".join(said), code=reasons[0]) if reasons else None

    def close(self) -> None:
        """Stop taking calls; those under way end by their own timeouts."""
        self._budget.close()
        self._endpoints.close()

    async def _chain(self, calls: Sequence[Call], owner: Hashable, took: Took | None) -> Credentials:
        """The whole chain, and once more from its beginning where what stopped it can be mended."""
        await self._budget.begin(owner)
        keys: tuple[str, ...] = ()
        try:
            return await self._walk(calls, took)
        except StsUnavailable as error:
            if error.reason != BASE_EXPIRED:
                raise
            await self._base.renew()
        except StsRejected as error:
            # From the beginning: what is too much for one hop may have been inherited from another.
            if error.reason == BASE_REFUSED:
                # They may have been rotated, and new ones be where these came from.
                await self._base.renew()
            else:
                calls, keys = shed(calls)
                if error.reason != NO_ROOM or not keys:
                    raise
        await self._budget.go_on()
        return replace(await self._walk(calls, took), shed=keys)

    async def _walk(self, calls: Sequence[Call], took: Took | None) -> Credentials:
        """Has the turn of its first call already."""
        try:
            signing: Signing = await self._base.current()
        except StsUnavailable as error:
            self._on_failure(_NO_REGION, error.reason)
            raise
        for place, call in enumerate(calls, start=1):
            if place > 1:
                await self._budget.go_on()
            began = time.perf_counter()
            try:
                answer = await self._ask(call, signing, place)
            finally:
                if took is not None:
                    took(f"hop {place}", began)
            credentials = believe(call, answer, now=self._clock.now())
            signing = _keys_of(credentials)
        return credentials

    async def _ask(self, call: Call, signing: Signing, place: int) -> Mapping[str, Any]:
        """One call, in as many regions and as often as it makes sense."""
        endpoint, *others = self._endpoints.in_order()
        here = 0
        for number in range(1, self._tries + 1):
            here += 1
            try:
                return await self._try(endpoint, call, signing, place)
            except StsError as error:
                if not _is_for_another_try(error, elsewhere=bool(others)) or number == self._tries:
                    raise
                if others and not (error.reason == THROTTLED and here == 1):
                    endpoint, here = others.pop(0), 0
                else:
                    await self._pause(number)
            await self._budget.go_on()
        raise AssertionError("the last try returns or raises")

    async def _try(self, endpoint: Endpoint, call: Call, signing: Signing, place: int) -> Mapping[str, Any]:
        """One call in one region, and what it says of the region."""
        self.calls[endpoint.region] += 1
        try:
            answer = await endpoint.assume(call.made_at(self._clock.now()), signing=signing, place=place)
        except StsError as error:
            self._on_failure(endpoint.region, error.reason)
            if error.reason in OF_THE_REGION:
                self._endpoints.fell(endpoint.region, error.reason)
            elif error.reason == THROTTLED:
                self._endpoints.throttled(endpoint.region, error.reason)
            else:
                self._endpoints.well(endpoint.region)
            raise
        self._endpoints.well(endpoint.region)
        return answer

    async def _pause(self, number: int) -> None:
        pause = _PAUSES[min(number, len(_PAUSES)) - 1].total_seconds()
        await asyncio.sleep(pause * (1 + self._chance()) / 2)


def _keys_of(session: Credentials) -> ReadOnlyCredentials:
    return ReadOnlyCredentials(
        session.access_key_id, session.secret_access_key.reveal(), session.session_token.reveal()
    )


def _is_for_another_try(error: StsError, *, elsewhere: bool) -> bool:
    if error.reason == MALFORMED:
        # The same place would say the same again: a portal or proxy stands before it.
        return elsewhere
    return error.reason in OF_THE_REGION or error.reason == THROTTLED
