"""From credentials to a URL that opens the AWS console with them.

The URL is a secret for as long as AWS takes it (fifteen minutes): it is in no log and no record. So is the question for it, which
carries the keys in its query, as AWS wants it: by TLS, to AWS alone, through no proxy of the environment.

Source: IAM User Guide, "Enable custom identity broker access to the AWS console".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

import aiohttp
from yarl import URL

from broker.core.credentials import Credentials
from broker.core.errors import BadRequest, StsRejected, StsTimeout, StsUnavailable
from broker.core.roles import RoleArn
from broker.core.secret import Secret
from broker.wire import DESTINATION_LENGTH_MAX

# A browser waits for it behind a chain that may have taken its own seconds.
_SECONDS = 3.0
# A token has about two thousand characters.
_ANSWER_MAX = 64 * 1024
_SERVER_FAULT = 500
_TOO_MANY = 429
_OK = 200
# Letters, digits, dots and dashes (RFC 1123, section 2.1).
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


@dataclass(frozen=True, slots=True)
class _Partition:
    federation: str
    console: str


# AWS General Reference, "AWS Sign-In endpoints"; partitions never meet.
_PARTITIONS = {
    "aws": _Partition("https://signin.aws.amazon.com/federation", "console.aws.amazon.com"),
    "aws-cn": _Partition("https://signin.amazonaws.cn/federation", "console.amazonaws.cn"),
    "aws-us-gov": _Partition("https://signin.amazonaws-us-gov.com/federation", "console.amazonaws-us-gov.com"),
}


class Console:
    """Signs in."""

    def __init__(self, *, endpoint: str | None = None) -> None:
        """Take another sign-in endpoint than the partition's, for a test double; nothing is connected yet."""
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    async def url(self, credentials: Credentials, *, destination: str | None, issuer: str | None) -> Secret:
        """What a browser opens.

        SessionDuration is never sent: AWS refuses it for chained credentials, and without it the console session ends with
        the credentials, as it should.

        Args:
            credentials: Whose console it is.
            destination: The page to begin with, in the console of the credentials' partition; its home unless given.
            issuer: The page that AWS sends people back to when their session has ended.

        Raises:
            BadRequest: The destination is no page of that console.
            StsRejected: AWS refused, or answered something else than a token.
            StsUnavailable: The sign-in endpoint is broken or out of reach.
            StsTimeout: It did not answer in time.
        """
        partition = _PARTITIONS[RoleArn.parse(credentials.role_arn).partition]
        page = _page(destination, partition.console)
        federation = self._endpoint or partition.federation
        token = await self._token(federation, credentials)
        sent = {"Action": "login", "Issuer": issuer, "Destination": page, "SigninToken": token}
        return Secret(federation + "?" + _query({name: value for name, value in sent.items() if value is not None}))

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    async def _token(self, federation: str, credentials: Credentials) -> str:
        shown = {
            "sessionId": credentials.access_key_id,
            "sessionKey": credentials.secret_access_key.reveal(),
            "sessionToken": credentials.session_token.reveal(),
        }
        question = _query({"Action": "getSigninToken", "Session": json.dumps(shown, separators=(",", ":"))})
        try:
            status, body = await self._get(f"{federation}?{question}")
        except TimeoutError:
            # "from None", here and below: aiohttp's errors may carry the URL, and with it the keys.
            raise StsTimeout("no answer from the sign-in endpoint", reason="signin_timeout") from None
        except aiohttp.ClientError as error:
            raise StsUnavailable(f"sign-in endpoint: {type(error).__name__}", reason="signin_unreachable") from None
        if status >= _SERVER_FAULT or status == _TOO_MANY:
            raise StsUnavailable(f"sign-in endpoint: HTTP {status}", reason="signin_broken")
        if status != _OK:
            raise StsRejected(f"sign-in endpoint: HTTP {status}", reason="signin_refused")
        return _sign_in_token(body)

    async def _get(self, url: str) -> tuple[int, bytes]:
        if self._session is None:
            # One that follows no redirect, keeps no cookie, and asks no proxy.
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, timeout=aiohttp.ClientTimeout(total=_SECONDS)
            )
        async with self._session.get(URL(url, encoded=True), allow_redirects=False) as answer:
            body = b""
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > _ANSWER_MAX:
                    break
            return answer.status, body


def _sign_in_token(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    token = answer.get("SigninToken") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise StsRejected("no sign-in token in the answer", reason="signin_malformed")
    return token


def _page(destination: str | None, console: str) -> str:
    """The page to begin with. Elsewhere than in the console AWS would send the browser with nothing of ours, but send it."""
    if destination is None:
        return f"https://{console}/"
    hint = f"destination must be a page of https://{console}/, or of a region's or service's console below {console}"
    url = _split(destination)
    # A name and nothing else: no port, no user, no sign that a browser would decode or refuse.
    host = url.netloc.lower() if url is not None else ""
    if url is None or url.scheme != "https" or not _HOST.fullmatch(host):
        raise BadRequest("destination", hint=hint)
    if not (host == console or host.endswith(f".{console}")):
        raise BadRequest("destination", hint=hint)
    return destination


def _split(text: str) -> SplitResult | None:
    # What a browser reads differently from us (white space, backslashes, other letters) is no URL here.
    if len(text) > DESTINATION_LENGTH_MAX or not text.isascii() or not text.isprintable() or set(text) & set(' \\"<>'):
        return None
    try:
        return urlsplit(text)
    except ValueError:
        return None


def _query(parameters: dict[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
