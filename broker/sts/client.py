"""AssumeRole over the network: boto3 on a few threads, its client built once, its errors mapped once.

The hops of a chain are signed with different credentials, and a boto3 client costs 150 ms to build. So there is one client whose
credentials are looked up at signing, for the call that the signing thread is about to make.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.credentials import Credentials as BotoCredentials
from botocore.credentials import ReadOnlyCredentials
from botocore.parsers import ResponseParserError

from broker.core.clock import Clock
from broker.core.credentials import Credentials
from broker.core.errors import StsDenied, StsError, StsRejected, StsTimeout, StsUnavailable
from broker.core.grant import Grant
from broker.sts.chain import Call, believe, plan, shed

# The whole chain, retries included: a client is promised an answer within 5 s.
DEADLINE = timedelta(seconds=4.5)
_NOT_AT_ALL = timedelta(0)
# AWS answers in a tenth of a second; botocore's own 60 s would outlive every caller. Room for a second try in DEADLINE.
_CONNECT_SECONDS = 1.0
_READ_SECONDS = 2.5
# botocore's standard mode waits at most 1 s and then 2 s, with jitter: three tries within 3 s.
_ATTEMPTS = 3
# Each call is mostly waiting; more threads than this only queue at STS's own quota.
_THREADS = 16

_THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException"}
_SKEWED = {"RequestExpired", "RequestTimeTooSkewed"}
# On the wire, and what botocore calls it.
_PACKED_TOO_LARGE = {"PackedPolicyTooLarge", "PackedPolicyTooLargeException"}
_NO_ROOM = "packed_policy_too_large"
_SERVER_FAULT = 500

_signing: ContextVar[ReadOnlyCredentials] = ContextVar("_signing")
# time.perf_counter() after which the call is of no use to anybody.
_useless_after: ContextVar[float] = ContextVar("_useless_after")

BaseCredentials = Callable[[], ReadOnlyCredentials]


class _CredentialsOfTheCall(BotoCredentials):  # type: ignore[misc]  # botocore has no types
    """What the shared client signs with: whatever the current call says."""

    def __init__(self) -> None:
        super().__init__("unset", "unset")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return _signing.get()


class StsClient:
    """Walks role chains."""

    def __init__(self, *, region: str, endpoint: str | None, base: BaseCredentials, clock: Clock) -> None:
        """Build the client.

        Args:
            region: Its STS endpoint is used, and never the global one.
            endpoint: Another address, for tests and private endpoints.
            base: The broker's own credentials, asked for at each chain.
            clock: Judges the expiry in answers.
        """
        self._base = base
        self._clock = clock
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="sts")
        self._client = _build(region, endpoint)
        self.failure: str | None = None

    async def assume(self, grant: Grant, *, waited: timedelta = _NOT_AT_ALL) -> Credentials:
        """Walk the chain of a grant, to the last hop's credentials, in what is left of ``DEADLINE`` after having ``waited``.

        Raises:
            StsRejected: STS refused a hop, or its answer cannot be believed. Nothing of earlier hops survives.
            StsUnavailable: Throttled to the end, broken, or out of reach.
            StsTimeout: No answer in time.
        """
        started = time.perf_counter() - waited.total_seconds()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout((DEADLINE - waited).total_seconds()):
                credentials = await loop.run_in_executor(self._threads, self._walk, plan(grant), started)
        except TimeoutError as error:
            self.failure = "sts_timeout"
            raise StsTimeout("no answer from STS in time", reason="sts_timeout") from error
        except (StsUnavailable, StsTimeout) as error:
            self.failure = error.reason
            raise
        self.failure = None
        return credentials

    async def ping(self) -> str | None:
        """None unless the last chain failed on AWS's side, else how. A refusal is not an illness."""
        return self.failure

    def close(self) -> None:
        """Stop taking calls; those under way end by their own timeouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _walk(self, calls: list[Call], started: float) -> Credentials:
        _useless_after.set(started + DEADLINE.total_seconds())
        _refuse_late()
        signing = _base_credentials(self._base)
        try:
            return self._chain(calls, signing)
        except StsRejected as error:
            lean, keys = shed(calls)
            if error.reason != _NO_ROOM or not keys:
                raise
        # From the beginning: what is too much for one hop may have been inherited from another.
        return replace(self._chain(lean, signing), shed=keys)

    def _chain(self, calls: Sequence[Call], signing: ReadOnlyCredentials) -> Credentials:
        for place, call in enumerate(calls, start=1):
            credentials = self._assume(call, signing, place)
            signing = ReadOnlyCredentials(
                credentials.access_key_id,
                credentials.secret_access_key.reveal(),
                credentials.session_token.reveal(),
            )
        return credentials

    def _assume(self, call: Call, signing: ReadOnlyCredentials, place: int) -> Credentials:
        token = _signing.set(signing)
        try:
            answer = self._client.assume_role(**call.parameters())
        except exceptions.ClientError as error:
            raise _refusal(error, place) from error
        except (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError) as error:
            raise StsTimeout(f"hop {place}: {type(error).__name__}", reason="sts_timeout") from error
        except (ResponseParserError, KeyError, AttributeError, TypeError, ValueError) as error:
            # botocore shows HTML and empty bodies as whatever its parser happened to trip over.
            raise StsRejected(f"hop {place}: not an answer of STS", reason="malformed_answer") from error
        except (exceptions.HTTPClientError, exceptions.BotoCoreError) as error:
            raise StsUnavailable(f"hop {place}: {type(error).__name__}", reason="sts_unreachable") from error
        finally:
            _signing.reset(token)
        return believe(call, answer, now=self._clock.now())


def environment_credentials(*, access_key_id: str, secret_key: str, session_token: str | None) -> BaseCredentials:
    """The broker's own credentials as the configuration gave them."""
    fixed = ReadOnlyCredentials(access_key_id, secret_key, session_token)
    return lambda: fixed


def default_credentials() -> BaseCredentials:
    """The broker's own credentials as boto3 finds them (profile, container, instance), refreshed by it.

    Raises:
        StsUnavailable: From the returned function, where it finds none.
    """
    session = boto3.Session()

    def find() -> ReadOnlyCredentials:
        credentials = session.get_credentials()
        if credentials is None:
            raise StsUnavailable("boto3 finds no credentials for the broker itself", reason="no_base_credentials")
        return credentials.get_frozen_credentials()

    return find


def _base_credentials(base: BaseCredentials) -> ReadOnlyCredentials:
    try:
        return base()
    except exceptions.BotoCoreError as error:
        raise StsUnavailable(f"no base credentials: {type(error).__name__}", reason="no_base_credentials") from error


def _build(region: str, endpoint: str | None) -> Any:
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=_THREADS,
        parameter_validation=True,
    )
    session = boto3.Session(region_name=region)
    session._session._credentials = _CredentialsOfTheCall()  # noqa: SLF001  # boto3 has no public way to pass an object
    client = session.client("sts", endpoint_url=endpoint, config=config)
    client.meta.events.register("before-send.sts.AssumeRole", _refuse_late)
    return client


def _refuse_late(**_: object) -> None:
    """Before each try: one that nobody waits for would hold a thread, and make a session that no record knows."""
    if time.perf_counter() > _useless_after.get():
        raise StsTimeout("not begun in time", reason="sts_timeout")


def _refusal(error: exceptions.ClientError, place: int) -> StsError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"hop {place}: {code}: {message[:500]}"
    if code in _THROTTLED:
        return StsUnavailable(said, reason="sts_throttled")
    if code in _SKEWED or "Signature expired" in message or "Signature not yet current" in message:
        return StsUnavailable(said, reason="clock_skew")
    if code in _EXPIRED:
        return StsUnavailable(said, reason="base_credentials_expired")
    if status >= _SERVER_FAULT:
        return StsUnavailable(said, reason="sts_broken")
    if code == "AccessDenied":
        return StsDenied(said, reason=f"hop{place}_access_denied")
    return StsRejected(said, reason=_NO_ROOM if code in _PACKED_TOO_LARGE else f"hop{place}_refused")
