"""HTTP to Vault and OpenBao: hvac's adapter on threads, answers read strictly, errors said once. It tries once and never waits.

Only what is given here decides where a request goes and what it carries: hvac's `Client` would take an address, a token, a
certificate and authorities out of VAULT_* variables and ~/.vault-token, and requests proxies and passwords out of the
environment and ~/.netrc, so neither is let near them. No redirect is followed: the token would go along.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import requests
from hvac.adapters import RawAdapter
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.core.visible import visible
from broker.core.workers import Workers
from broker.remote.failure import DENIED, Conflict, Malformed, Missing, Refused, RemoteFailure, Unreachable
from broker.remote.tries import CONNECT, Lasting, NotTaken

_T = TypeVar("_T")
Json = Mapping[str, Any]

# Rare calls that wait; a vault that stands still holds up this many threads and nobody else's.
_THREADS = 8
# Octets. Vault takes requests of 32 MiB; what is asked here, a batch of a thousand keys included, is a hundredth of it.
_ANSWER_MAX = 8 * 1024 * 1024
_CHUNK = 64 * 1024
# Characters of the server's own words that reach a log.
_WORDS_MAX = 200
_ELSEWHERE = "what answers there sends elsewhere, where a token is not sent"
# By status, and where that is not listed by its hundred.
_COUNTED = re.compile(r"^\d+ errors? occurred: \* ")
_FAILURES: Mapping[int, tuple[type[RemoteFailure], str, str]] = {
    100: (Malformed, "what answers there is no vault ({status})", "malformed"),
    200: (Malformed, "what answers there is no vault ({status})", "malformed"),
    300: (Malformed, _ELSEWHERE, "redirected"),
    # How a standby that cannot forward names the active server.
    307: (Unreachable, f"{_ELSEWHERE}; name the active server or a load balancer in secrets.config.url", "standby"),
    400: (Refused, "the vault does not take it ({status}): {words}", "rejected"),
    401: (Refused, "the vault refuses it: {words}; check the policies of the broker's token", DENIED),
    403: (Refused, "the vault refuses it: {words}; check the policies of the broker's token", DENIED),
    404: (Missing, "there is no such secret", "missing"),
    412: (Conflict, "somebody wrote another version meanwhile", "version_conflict"),
    429: (Unreachable, "the vault is asked too often", "throttled"),
    500: (Unreachable, "the vault is broken ({status}): {words}", "broken"),
    501: (Lasting, "the vault is not initialised", "not_initialised"),
}


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    body: Json | None
    headers: Mapping[str, str] = field(repr=False)
    seconds: float
    accept: frozenset[int]


class Wire:
    """One server, or a name that stands for several."""

    def __init__(self, *, url: str, ca_file: Path | None, namespace: str | None, clock: Clock) -> None:
        """``ca_file`` holds the only authorities that count; None: the system's. ``namespace`` goes with every request."""
        self.url = url
        self._clock = clock
        self._threads = Workers(name="vault", number=_THREADS)
        self._session = requests.Session()
        self._session.trust_env = False
        trusted = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        trusted.minimum_version = ssl.TLSVersion.TLSv1_2
        self._session.mount("https://", _Trusting(trusted))
        self._adapter = RawAdapter(
            base_uri=url, session=self._session, namespace=namespace, allow_redirects=False, request_header=True
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        token: Secret | None,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset(),
    ) -> Json:
        """The JSON object that the server answers, empty where it says that there is nothing to say (204).

        Args:
            method: ``GET``, ``POST``, ``DELETE`` or ``LIST``.
            path: Below ``/v1/``, made of characters that need no quoting.
            body: JSON.
            token: Who asks; None before a login.
            seconds: How long the server may think.
            headers: More of them.
            accept: Statuses that are answers too, besides 200 and 204.

        Raises:
            RemoteFailure: Anything else.
        """
        ours = {"X-Vault-Token": token.reveal()} if token is not None else {}
        request = _Request(method, path, body, {**(headers or {}), **ours}, seconds, accept)
        return await self.do(lambda: self._ask(request))

    async def do(self, job: Callable[[], _T]) -> _T:
        """Something else that may block, on the same threads."""
        return await self._threads.do(job)

    def close(self) -> None:
        """Stop taking requests; those under way end by their own timeouts."""
        self._threads.stop()
        self._session.close()

    def _ask(self, asked: _Request) -> Json:
        try:
            response = self._adapter.request(
                asked.method,
                f"/v1/{asked.path}",
                headers=dict(asked.headers),
                raise_exception=False,
                json=asked.body,
                timeout=(CONNECT, asked.seconds),
                stream=True,
            )
            with response:
                content = self._content(response, until=self._clock.boottime() + asked.seconds)
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise _unanswered(error, self.url) from error
        return _read(response.status_code, response.headers.get("Content-Type", ""), content, asked.accept)

    def _content(self, response: requests.Response, *, until: float) -> bytes:
        """The body. The timeout of a socket begins anew with every octet, so an answer that drips is measured here."""
        content = bytearray()
        # What has come, not a whole chunk.
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            content += chunk
            if len(content) > _ANSWER_MAX:
                raise Malformed("the vault's answer has no end", reason="too_long")
            if self._clock.boottime() > until:
                raise Unreachable("the vault's answer takes too long", reason="timeout")
        return bytes(content)


class _Trusting(HTTPAdapter):
    """Believes in the authorities of one context: requests would add the bundle that it brings along."""

    def __init__(self, trusted: ssl.SSLContext) -> None:
        self._trusted = trusted
        super().__init__(pool_maxsize=_THREADS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._trusted, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ARG002  # the library's signature
        conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = ssl.CERT_REQUIRED, None, None


def _unanswered(error: Exception, url: str) -> RemoteFailure:
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    if isinstance(error, requests.exceptions.SSLError):
        words = _shown(str(cause))
        return Lasting(f"no TLS with {url} that can be trusted: {words}; check secrets.config.ca_file", reason="tls")
    if isinstance(error, requests.ConnectTimeout) or isinstance(cause, NewConnectionError):
        return NotTaken(f"no connection to {url}", reason="unreachable")
    if isinstance(error, (requests.Timeout, ReadTimeoutError)):
        return Unreachable(f"no answer from {url} in time", reason="timeout")
    if isinstance(error, (requests.ConnectionError, ProtocolError)):
        return Unreachable(f"the connection to {url} broke", reason="unreachable")
    return Malformed(f"{url} gives no answer that can be read ({type(error).__name__})", reason="malformed")


def _read(status: int, kind: str, content: bytes, accept: frozenset[int]) -> Json:
    if status == HTTPStatus.NO_CONTENT:
        return {}
    document = _document(kind, content)
    if status in accept | {HTTPStatus.OK} and document is not None:
        return document
    if status == HTTPStatus.OK:
        raise Malformed("what answers there is no vault: 200 without a JSON object", reason="malformed")
    raise _failure(status, _errors(document))


def _document(kind: str, content: bytes) -> Json | None:
    if kind.partition(";")[0].strip().lower() != "application/json":
        return None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _errors(document: Json | None) -> list[str]:
    errors = document.get("errors") if document else None
    return [_in_one_line(error) for error in errors if isinstance(error, str)] if isinstance(errors, list) else []


def _in_one_line(error: str) -> str:
    """Without the frame that the servers put around several errors, and around one as well."""
    return _COUNTED.sub("", " ".join(error.split())).replace(" * ", "; ")


def _failure(status: int, errors: list[str]) -> RemoteFailure:
    """https://openbao.org/api-docs/#http-status-codes, and how a version 2 KV engine says that a check of cas failed."""
    words = _shown(", ".join(errors))
    if "check-and-set" in words:
        status = HTTPStatus.PRECONDITION_FAILED
    if status == HTTPStatus.NOT_FOUND and errors:
        # Where there is an engine, its answer for what is not there has no words.
        return Refused(f"nothing is mounted there: {words}", reason="no_such_mount")
    if status == HTTPStatus.SERVICE_UNAVAILABLE and "sealed" in words:
        return Lasting("the vault is sealed; unseal it", reason="sealed")
    kind, sentence, reason = _FAILURES.get(status) or _FAILURES[status // 100 * 100]
    return kind(sentence.format(status=status, words=words), reason=reason)


def _shown(words: str) -> str:
    return visible(words)[:_WORDS_MAX]
