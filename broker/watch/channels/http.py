"""One POST of JSON, for the channels that are HTTP.

No redirect is followed (the body would go to somebody else), no cookie kept, no proxy of the environment asked. aiohttp's errors
may carry the URL, which is a secret: none of them leaves this file.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
from yarl import URL

from broker import __version__
from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.watch.channels.port import DEADLINE, Refused, Undelivered

_ANSWER_MAX = 4096
_SERVER_FAULT = 500
# Request Timeout, Too Early, Too Many Requests: RFC 9110 section 15.5.9, RFC 8470, RFC 6585.
_LATER = {408, 425, 429}
_JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is text, as much of it as matters."""

    status: int
    body: str
    after: float | None


class Poster:
    """Posts to one URL."""

    def __init__(self, *, url: Secret, clock: Clock, ca_file: Path | None = None) -> None:
        """Take the URL; nothing is connected yet."""
        self._url = url
        self._clock = clock
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes, *, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to one POST, if it is one of success (2xx) or says that the message is not wanted (4xx).

        Raises:
            Undelivered: Nobody answered, or the answer says "later" (5xx, 408, 425, 429).
            Refused: A redirect: it is not for us to decide who else gets this.
        """
        try:
            answer = await self._send(body, {"Content-Type": _JSON, **(headers or {})})
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        except aiohttp.ClientConnectorCertificateError:
            raise Undelivered("the server's certificate is not one that we trust") from None
        except aiohttp.ClientError as error:
            raise Undelivered(f"no answer ({type(error).__name__})") from None
        if answer.status >= _SERVER_FAULT or answer.status in _LATER:
            raise Undelivered(f"HTTP {answer.status}", after=answer.after)
        if 300 <= answer.status < 400:  # noqa: PLR2004  the class of redirects
            raise Refused(f"HTTP {answer.status}: a redirect, which is not followed")
        return answer

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=DEADLINE),
                headers={"User-Agent": f"zerotrust-broker/{__version__}"},
            )
        url = URL(self._url.reveal(), encoded=True)
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False, ssl=self._tls) as got:
            text = (await got.content.read(_ANSWER_MAX)).decode("utf-8", "replace")
            return Answer(status=got.status, body=text, after=self._seconds(got.headers.get("Retry-After", "")))

    def _seconds(self, retry_after: str) -> float | None:
        """RFC 9110, section 10.2.3: seconds, or a date."""
        if re.fullmatch(r"[0-9]{1,9}", retry_after):
            return float(retry_after)
        try:
            when: datetime = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        # A date without a zone is UTC as well (RFC 5322, section 3.3, "-0000").
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - self._clock.now()).total_seconds())
