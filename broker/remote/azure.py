"""Azure: logging in to Entra ID as an application, and speaking to one Key Vault. The extra `azure` brings Microsoft's SDK.

The SDK makes the requests, asks the vault who may let us in (its challenge, whose resource must be the vault's own domain),
and keeps the token for as long as it lasts. Decided here: the tenant is ours, whatever a challenge says; one try at a time
(``tries.py``); no redirect, no other authority from the environment; errors as kinds of ``RemoteFailure`` whose text is Azure's
code and never its words.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from azure.core import exceptions
from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.core.credentials_async import AsyncSupportsTokenInfo
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential

from broker.core.secret import Secret
from broker.remote.failure import Conflict, Malformed, Missing, Refused, RemoteFailure, Unreachable
from broker.remote.tries import CONNECT, LONGEST_TRY, ComeLater, NotTaken, tried

_T = TypeVar("_T")

# The cloud of whoever names no other.
PUBLIC_AUTHORITY = "https://login.microsoftonline.com"
# The oldest version that has all we ask for: every cloud of Azure speaks it.
API_VERSION = "7.4"
_CONNECTIONS = 8
_CLIENT_FAULT, _THROTTLED, _SERVER_FAULT = 400, 429, 500

# They log addresses, headers and what a server said, at INFO and DEBUG, and a failed login with all its words as a warning.
_TALKATIVE = ("azure", "msal")

# "Azure Key Vault REST API error codes": by status, and by the innermost code where that says more.
_REFUSALS: Mapping[int, tuple[type[RemoteFailure], str]] = {
    403: (Refused, "access_denied"),
    404: (Missing, "not_found"),
    409: (Conflict, "conflict"),
}
_BECAUSE = {
    "SecretDisabled": "disabled",
    "KeyDisabled": "disabled",
    "ForbiddenByFirewall": "firewall",
    "ForbiddenByConnection": "firewall",
    "ObjectIsBeingDeleted": "being_deleted",
    "ObjectIsDeletedButRecoverable": "being_deleted",
    "ObjectIsBeingRecovered": "being_deleted",
}


@dataclass(frozen=True, slots=True)
class AzureLogin:
    """Who the broker is to Entra ID.

    ``client_secret``: what it is now; asked again when Entra refuses, for it may have been rotated under us. ``ca_file``: who
    signs the servers' certificates, None for the system's.
    """

    tenant_id: str
    client_id: str
    client_secret: Callable[[], Secret]
    authority: str = PUBLIC_AUTHORITY
    ca_file: Path | None = None


class AzureVault:
    """One Key Vault, as one application. Made anywhere, used inside one event loop."""

    def __init__(self, url: str, *, login: AzureLogin) -> None:
        """Nothing is asked yet.

        Raises:
            ValueError: The URL of the vault or of the authority is not https, which the SDK insists upon.
        """
        if urlsplit(url).scheme != "https" or urlsplit(login.authority).scheme != "https":
            raise ValueError("Azure's SDK takes https only")
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.url = url.rstrip("/")
        self._login = login
        self._transport: AioHttpTransport | None = None
        self._credential: _Login | None = None
        self._clients: list[Any] = []

    def client(self, kind: Callable[..., _T], *target: Any) -> _T:
        """One of the SDK's clients of this vault; ``target`` is the vault itself where it is none. Inside the event loop."""
        if self._transport is None or self._credential is None:
            self._transport = _transport(self._login.ca_file)
            self._credential = _Login(self._login, transport=self._transport)
        made = kind(*(target or (self.url,)), self._credential, **_settings(self._transport))
        self._clients.append(made)
        return made

    async def ask(self, place: str, question: Callable[[], Awaitable[_T]], *, twice: bool = True) -> _T:
        """What the SDK gives for one question, asked again where that may help; ``twice`` as in ``tries.tried``.

        Raises:
            RemoteFailure: Of the kind that says what to do, within ``tries.PATIENCE``.
        """
        return await tried(lambda: self._let_in(place, question), twice=twice)

    async def _let_in(self, place: str, question: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await _with_our_errors(place, question)
        except _BadToken:
            if self._credential is not None:
                self._credential.forget()
        try:
            return await _with_our_errors(place, question)
        except _BadToken as again:
            raise Refused(str(again), reason=again.reason) from None

    async def close(self) -> None:
        """Let connections and the token go."""
        for client in self._clients:
            await client.close()
        if self._transport is not None:
            await self._transport.close()
            # aiohttp's connections end in the loop's next round.
            await asyncio.sleep(0)
        self._transport = self._credential = None


class _BadToken(RemoteFailure):
    """The vault does not take our token, or no longer."""


class _Login(AsyncSupportsTokenInfo):
    """Tokens for the application: the SDK's, with a secret that may change and a tenant that may not."""

    def __init__(self, login: AzureLogin, *, transport: AioHttpTransport) -> None:
        self._login = login
        self._transport = transport
        self._secret = login.client_secret()
        self._credential = self._made()

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """A token for the scopes; of our tenant, whatever the challenge named: a vault does not choose who hears our secret.

        Raises:
            RemoteFailure: Entra ID gives none. The SDK lets it pass as it is.
        """
        ours = TokenRequestOptions(enable_cae=True)
        if options and options.get("claims"):
            ours["claims"] = options["claims"]
        try:
            return await self._once(scopes, ours)
        except Refused:
            secret = self._login.client_secret()
            if secret == self._secret:
                raise
            # Rotated under us.
            self._secret = secret
            self._credential = self._made()
            return await self._once(scopes, ours)

    def forget(self) -> None:
        """The vault does not take the token that we have: the next one is a new one."""
        self._credential = self._made()

    async def close(self) -> None:
        """The transport is closed by its owner."""

    async def __aexit__(self, *_: object) -> None:
        """As ``close``."""

    async def _once(self, scopes: tuple[str, ...], options: TokenRequestOptions) -> AccessTokenInfo:
        try:
            return await self._credential.get_token_info(*scopes, options=options)
        except exceptions.ClientAuthenticationError as error:
            raise _login_failure(error.status_code or 0) from None

    def _made(self) -> ClientSecretCredential:
        return ClientSecretCredential(
            self._login.tenant_id,
            self._login.client_id,
            self._secret.reveal(),
            authority=self._login.authority,
            **_settings(self._transport),
        )


def _settings(transport: AioHttpTransport) -> Mapping[str, Any]:
    """For every client of the SDK: what it would do by itself and is not to."""
    return {
        "transport": transport,
        "api_version": API_VERSION,
        "retry_total": 0,
        "permit_redirects": False,
        "logging_enable": False,
        "user_agent": "zerotrust-broker",
    }


def _transport(ca_file: Path | None) -> AioHttpTransport:
    """One pool of connections for the vault and for Entra; a context of our own, for the SDK makes one at each request."""
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
        auto_decompress=False,
    )
    return AioHttpTransport(session=session, connection_timeout=CONNECT, read_timeout=LONGEST_TRY)


async def _with_our_errors(place: str, question: Callable[[], Awaitable[_T]]) -> _T:
    """Each error is raised "from None": the SDK's carry the answer, and the answer may be what was asked for."""
    try:
        return await question()
    except exceptions.ClientAuthenticationError as error:
        raise _BadToken(f"{place}: HTTP {error.status_code}: our token is not taken", reason="token_refused") from None
    except exceptions.HttpResponseError as error:
        raise _failure(error, place) from None
    except (exceptions.ServiceResponseTimeoutError, TimeoutError):
        raise Unreachable(f"{place}: no answer in time", reason="timeout") from None
    except exceptions.ServiceRequestError as error:
        raise NotTaken(f"{place}: {type(error).__name__}", reason="unreachable") from None
    except (exceptions.AzureError, aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"{place}: {type(error).__name__}", reason="unreachable") from None
    except ValueError:
        # The SDK's word for a challenge that points elsewhere, and for a body that is no JSON.
        raise Malformed(f"{place}: not an answer of this Key Vault", reason="malformed_answer") from None
    except (KeyError, AttributeError, TypeError):
        raise Malformed(f"{place}: not an answer of Key Vault", reason="malformed_answer") from None


def _login_failure(status: int) -> RemoteFailure:
    if status == _THROTTLED or status >= _SERVER_FAULT:
        return Unreachable(f"Entra ID answers HTTP {status}", reason="login_unavailable")
    if status < _CLIENT_FAULT:
        return Malformed("not an answer of Entra ID", reason="malformed_answer")
    what = "Entra ID does not let the application in: tenant_id, client_id or client_secret is wrong, or has ended"
    return Refused(f"{what} (HTTP {status})", reason="login_refused")


def _failure(error: exceptions.HttpResponseError, place: str) -> RemoteFailure:
    status, code = error.status_code or 0, _code(error)
    said = f"{place}: HTTP {status} {code}".rstrip()
    if isinstance(error, exceptions.DecodeError) or status < _CLIENT_FAULT:
        return Malformed(said, reason="malformed_answer")
    if status == _THROTTLED:
        return _throttled(error, said)
    if status >= _SERVER_FAULT:
        return Unreachable(said, reason="broken")
    kind, reason = _REFUSALS.get(status, (Refused, "refused"))
    return kind(said, reason=_BECAUSE.get(code, reason))


def _throttled(error: exceptions.HttpResponseError, said: str) -> Unreachable:
    after = getattr(error.response, "headers", {}).get("Retry-After", "")
    if after.isascii() and after.isdecimal():
        return ComeLater(said, reason="throttled", after=float(after))
    return NotTaken(said, reason="throttled")


def _code(error: exceptions.HttpResponseError) -> str:
    """The innermost of Key Vault's codes, where it is a word."""
    try:
        said = error.response.json()["error"] if error.response is not None else {}  # type: ignore[attr-defined]
        code = str((said.get("innererror") or said).get("code", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return code if code.isascii() and code.isalnum() else ""
