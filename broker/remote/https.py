"""One request to a vault and its answer: deadlines, few tries, and no word of a library or a server in what fails.

What only asks is tried again when nothing usable came back. What changes something is tried again only where the server
certainly took nothing: no connection, or an answer that says so (429, 503); a change that may have been made is the caller's to
look at.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from broker.remote.failure import Malformed, Unreachable
from broker.remote.tries import CONNECT, LONGEST_TRY, Lasting, NotTaken, tried

# Bytes. A page of Kubernetes secrets of 1 MiB each is the largest answer anybody gives.
_ANSWER_MAX = 32 * 1024 * 1024
_TOO_MANY, _UNAVAILABLE, _FIRST_OF_ITS_OWN_FAULTS = 429, 503, 500
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status below 500, and the body."""

    status: int
    kind: str
    body: bytes

    def members(self) -> dict[str, Any]:
        """The JSON object that the body is.

        Raises:
            Malformed: It is none.
        """
        found = self.json()
        if not isinstance(found, dict):
            raise Malformed("the answer is not a JSON object", reason="answer_malformed")
        return found

    def json(self) -> Any:
        """What the body says.

        Raises:
            Malformed: It is not JSON, or does not say that it is.
        """
        if self.kind != _JSON:
            raise Malformed(f"the answer (HTTP {self.status}) is not JSON", reason="answer_malformed")
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            # "from None": the text of what could not be read may be a secret.
            raise Malformed(f"the answer (HTTP {self.status}) is not JSON", reason="answer_malformed") from None


class Https:
    """A server by its URL, which may end in a path. Follows no redirect, keeps no cookie, asks no proxy."""

    def __init__(self, *, url: str, who: str, ca_file: str | None) -> None:
        """Take ``who`` for the messages: ``Kubernetes``; ``ca_file`` are its authorities, the system's where None."""
        self._url = url.rstrip("/")
        self._who = who
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        kind: str = _JSON,
        changes: bool = True,
    ) -> Answer:
        """The answer to one request; ``path`` is encoded already, with its query.

        ``changes``: whether a request other than GET does something that must not be done twice.

        Raises:
            Unreachable: None in time, a fault of the server's own, or too busy.
            Malformed: One that is too long.
        """
        sent = dict(headers) if body is None else {**headers, "Content-Type": kind}
        return await tried(lambda: self._once(method, path, sent, body), twice=method == "GET" or not changes)

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    async def _once(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        try:
            answer = await self._exchange(method, path, headers, body)
        except aiohttp.ClientConnectorCertificateError:
            what = f"{self._who}: its certificate is not believed — fix: name its authority in ca_file"
            raise Lasting(what, reason="certificate_not_believed") from None
        except aiohttp.ClientConnectorError as error:
            raise NotTaken(f"{self._who}: no connection ({type(error).__name__})", reason="no_connection") from None
        except TimeoutError:
            raise Unreachable(f"{self._who}: no answer in time", reason="timeout") from None
        except aiohttp.ClientError as error:
            # "from None": aiohttp's errors carry URLs, headers and parts of the answer.
            raise Unreachable(f"{self._who}: no answer ({type(error).__name__})", reason="no_answer") from None
        if answer.status in (_TOO_MANY, _UNAVAILABLE):
            raise NotTaken(f"{self._who}: HTTP {answer.status}", reason="busy")
        if answer.status >= _FIRST_OF_ITS_OWN_FAULTS:
            raise Unreachable(f"{self._who}: HTTP {answer.status}", reason="server_fault")
        return answer

    async def _exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self._session is None:
            context = ssl.create_default_context(cafile=self._ca_file)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=LONGEST_TRY, sock_connect=CONNECT),
            )
        url = URL(f"{self._url}{path}", encoded=True)
        async with self._session.request(method, url, headers=headers, data=body, allow_redirects=False) as answer:
            read = bytearray()
            async for chunk in answer.content.iter_any():
                read += chunk
                if len(read) > _ANSWER_MAX:
                    raise Malformed(f"{self._who}: an answer of more than 32 MiB", reason="answer_malformed")
            return Answer(status=answer.status, kind=answer.content_type, body=bytes(read))
