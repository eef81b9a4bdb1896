"""Inline policies of roles in any account: read, put, deleted, with a session of a role there that may do this and nothing else.

Each question tries once and ends within its own time; whoever asks decides when to ask again. The account's session is made by
STS like any chain, and used for as long as it lasts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from botocore import exceptions
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.parsers import ResponseParserError

from broker.core.clock import Clock
from broker.core.credentials import Credentials
from broker.core.errors import BrokerError
from broker.core.roles import SHORTEST, Hop, RoleArn
from broker.core.workers import Workers
from broker.remote.signed import shared_session, signed_by
from broker.sts.chain import Call
from broker.sts.client import StsClient

# IAM answers in a few tenths of a second.
_CONNECT_SECONDS = 1.0
_READ_SECONDS = 2.0
THREADS = 8
# A session with less left is not begun with.
_LEAST_LEFT = timedelta(minutes=2)
# RoleSessionName and SourceIdentity: what CloudTrail says did it. No principal's is like it, for each of theirs has an @.
SESSION_NAME = "ZeroTrustRevocation"

_MISSING = "NoSuchEntity"
# Words for records and receipts; what AWS says otherwise becomes "refused".
_REASONS = {
    "AccessDenied": "access_denied",
    "AccessDeniedException": "access_denied",
    "LimitExceeded": "no_room",
    "UnmodifiableEntity": "service_linked_role",
    "Throttling": "throttled",
    "ThrottlingException": "throttled",
    "RequestLimitExceeded": "throttled",
    "ExpiredToken": "session_ended",
    "InvalidClientTokenId": "session_ended",
    "ServiceFailure": "broken",
    "InternalFailure": "broken",
    "ServiceUnavailable": "broken",
}
_SERVER_FAULT = 500


class IamFailed(Exception):
    """It was not done, or nobody knows. ``reason`` is a word for records: ``access_denied``, ``no_room``, ``throttled``, ..."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RoleGone(Exception):
    """There is no such role."""


class Found(NamedTuple):
    """A policy's document, None where there is none of the name; and the time at AWS, where the answer tells it."""

    document: Mapping[str, Any] | None
    moment: datetime | None


class RolePolicies:
    """Made once, used inside one event loop."""

    def __init__(
        self, *, sts: StsClient, chain: Callable[[str], Sequence[Hop]], region: str, endpoint: str | None, clock: Clock
    ) -> None:
        """Build the client.

        Args:
            sts: Makes the sessions.
            chain: The hops that lead to the role that may do it in an account.
            region: Any of the partition: IAM has one endpoint in each.
            endpoint: Another address for IAM; None for the partition's.
            clock: Judges whether a session is still good.
        """
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=THREADS,
            ignore_configured_endpoint_urls=True,
        )
        self._sts = sts
        self._chain = chain
        self._client = shared_session().create_client("iam", region_name=region, endpoint_url=endpoint, config=config)
        self._clock = clock
        self._threads = Workers(name="iam", number=THREADS)
        self._sessions: dict[str, Credentials] = {}
        self._making: dict[str, asyncio.Lock] = {}

    async def look(self, role: RoleArn, name: str) -> Found:
        """The policy of this name. Without the role there is none either: AWS tells the two apart in words for people only.

        Raises:
            IamFailed: Nobody says.
        """
        try:
            answer = await self._ask(self._client.get_role_policy, role, PolicyName=name)
        except _NoSuch as error:
            return Found(None, _date(error.answer))
        found = answer.get("PolicyDocument")
        if not isinstance(found, Mapping):
            # Text that is no JSON object is still a policy, and none of ours.
            found = {}
        return Found(found, _date(answer))

    async def put(self, role: RoleArn, name: str, document: Mapping[str, Any]) -> None:
        """Put a policy there, in place of one of this name. Raises like ``look``.

        Raises:
            RoleGone: There is no such role.
        """
        text = json.dumps(document, separators=(",", ":"))
        try:
            await self._ask(self._client.put_role_policy, role, PolicyName=name, PolicyDocument=text)
        except _NoSuch as error:
            raise RoleGone(role.text) from error

    async def delete(self, role: RoleArn, name: str) -> None:
        """Take a policy away; where there is none, or no such role, it is well.

        Raises:
            IamFailed: It may still be there.
        """
        try:
            await self._ask(self._client.delete_role_policy, role, PolicyName=name)
        except _NoSuch:
            return

    def close(self) -> None:
        """Stop taking questions; those under way end by their own timeouts."""
        self._threads.stop()

    async def _ask(
        self, question: Callable[..., Mapping[str, Any]], role: RoleArn, **parameters: str
    ) -> Mapping[str, Any]:
        session = await self._session(role.account)
        keys = ReadOnlyCredentials(
            session.access_key_id, session.secret_access_key.reveal(), session.session_token.reveal()
        )

        def asked() -> Mapping[str, Any]:
            with signed_by(keys):
                return _with_our_errors(question, role, parameters)

        try:
            return await self._threads.do(asked)
        except IamFailed as error:
            if error.reason == "session_ended":
                self._sessions.pop(role.account, None)
            raise

    async def _session(self, account: str) -> Credentials:
        async with self._making.setdefault(account, asyncio.Lock()):
            session = self._sessions.get(account)
            if session is None or session.expiration - self._clock.now() < _LEAST_LEFT:
                calls = [
                    Call(arn=hop.arn, external_id=hop.external_id, session_name=SESSION_NAME, lifetime=SHORTEST)
                    for hop in self._chain(account)
                ]
                try:
                    session = await self._sts.walk(calls, owner=SESSION_NAME)
                except BrokerError as error:
                    raise IamFailed(f"no session of {calls[-1].arn.text}: {error}", reason=error.reason) from error
                self._sessions[account] = session
        return session


class _NoSuch(Exception):
    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(_MISSING)
        self.answer = answer


def _with_our_errors(
    question: Callable[..., Mapping[str, Any]], role: RoleArn, parameters: Mapping[str, str]
) -> Mapping[str, Any]:
    try:
        return question(RoleName=role.name, **parameters)
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == _MISSING:
            raise _NoSuch(error.response) from error
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        reason = _REASONS.get(code, "broken" if status >= _SERVER_FAULT else "refused")
        raise IamFailed(f"{role.text}: {code}", reason=reason) from error
    except (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError) as error:
        raise IamFailed(f"{role.text}: no answer of IAM in time", reason="timeout") from error
    except (ResponseParserError, KeyError, AttributeError, TypeError, ValueError) as error:
        # botocore shows HTML and empty bodies as whatever its parser happened to trip over.
        raise IamFailed(f"{role.text}: not an answer of IAM", reason="malformed_answer") from error
    except (exceptions.HTTPClientError, exceptions.BotoCoreError) as error:
        raise IamFailed(f"{role.text}: {type(error).__name__}", reason="unreachable") from error


def _date(answer: Mapping[str, Any]) -> datetime | None:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        moment = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
