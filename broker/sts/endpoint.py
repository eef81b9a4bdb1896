"""AssumeRole at one region's STS: botocore on threads of the region's own, its errors mapped once. It tries once and never waits.

The hops of a chain are signed with different credentials, and a client of botocore costs 40 ms to build. So a region has one,
whose credentials are looked up at signing, for the call that the signing thread is about to make (ADR 4). Threads of its own:
a region that hangs holds up its own callers only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from botocore import exceptions
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.parsers import ResponseParserError

from broker.core.errors import StsRejected, StsTimeout, StsUnavailable
from broker.core.workers import Workers
from broker.remote.signed import shared_session, signed_by
from broker.sts.base import Signing
from broker.sts.chain import Call
from broker.sts.refusals import MALFORMED, TIMEOUT, UNREACHABLE, refusal
from broker.sts.web_identity import TokenIssuer

# A connection stands after one round trip around the world, or not at all.
_CONNECT_SECONDS = 1.0
# Each call is mostly waiting: this many serve 100 calls a second of a quarter of a second each. They are started when needed.
_THREADS = 32


class Region(NamedTuple):
    """A region by its name, and another address than its public one where ``endpoint`` is not None."""

    name: str
    endpoint: str | None


class Endpoint:
    """STS in one region."""

    def __init__(self, *, region: str, client: Any, patience: timedelta) -> None:
        """Take a client of botocore that signs with what the call says; see ``endpoints()``."""
        self.region = region
        self.patience = patience
        self._client = client
        self._threads = Workers(name=f"sts-{region}", number=_THREADS)

    async def assume(self, call: Call, *, signing: Signing, place: int) -> Mapping[str, Any]:
        """The answer to one call, unread, within ``patience``; ``place`` is the hop's number, for the errors.

        Raises:
            StsRejected: STS refused, or what came is no answer of STS.
            StsUnavailable: Throttled, broken, or out of reach.
            StsTimeout: No answer in time.
        """
        if isinstance(signing, TokenIssuer):
            issuer = signing
            token = await issuer.token(
                call.session_name,
                tags={tag.key: tag.value for tag in call.tags},
                transitive=[tag.key for tag in call.tags if tag.transitive],
            )
            return await self._answer(lambda: self._shown(call, token, issuer), place)
        keys = signing
        return await self._answer(lambda: self._signed(self._client.assume_role, keys, call.parameters()), place)

    async def caller(self, *, signing: ReadOnlyCredentials) -> Mapping[str, Any]:
        """The answer to the question whose credentials these are, unread. Raises like ``assume``."""
        return await self._answer(lambda: self._signed(self._client.get_caller_identity, signing, {}), 0)

    def close(self) -> None:
        """Stop taking calls; those under way end by their own timeouts."""
        self._threads.stop()

    async def _answer(self, ask: Callable[[], Mapping[str, Any]], place: int) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(self.patience.total_seconds()):
                # A call that is still waiting for its thread when this ends is never made.
                return await self._threads.do(lambda: _with_our_errors(ask, place))
        except TimeoutError as error:
            raise StsTimeout(f"hop {place}: no answer in time", reason=TIMEOUT) from error

    def _signed(
        self, ask: Callable[..., Mapping[str, Any]], credentials: ReadOnlyCredentials, parameters: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        with signed_by(credentials):
            return ask(**parameters)

    def _shown(self, call: Call, token: str, issuer: TokenIssuer) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._client.assume_role_with_web_identity(
            **call.token_parameters(), WebIdentityToken=token
        )
        issuer.require_ours(answer, subject=call.session_name)
        return answer


def _with_our_errors(ask: Callable[[], Mapping[str, Any]], place: int) -> Mapping[str, Any]:
    try:
        return ask()
    except exceptions.ClientError as error:
        raise refusal(error, place) from error
    except (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError) as error:
        raise StsTimeout(f"hop {place}: {type(error).__name__}", reason=TIMEOUT) from error
    except (ResponseParserError, KeyError, AttributeError, TypeError, ValueError) as error:
        # botocore shows HTML and empty bodies as whatever its parser happened to trip over.
        raise StsRejected(f"hop {place}: not an answer of STS", reason=MALFORMED) from error
    except (exceptions.HTTPClientError, exceptions.BotoCoreError) as error:
        raise StsUnavailable(f"hop {place}: {type(error).__name__}", reason=UNREACHABLE) from error


def endpoints(regions: Sequence[Region], *, patience: timedelta) -> list[Endpoint]:
    """One for each region, in their order; each gives an answer, or gives up, within ``patience``."""
    session = shared_session()
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=patience.total_seconds(),
        # Whether, where and when to try again is decided in one place, and that is not here.
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=_THREADS,
        parameter_validation=True,
    )
    return [
        Endpoint(
            region=region.name,
            client=session.create_client("sts", region_name=region.name, endpoint_url=region.endpoint, config=config),
            patience=patience,
        )
        for region in regions
    ]
