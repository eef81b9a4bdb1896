"""Records by HTTP: Splunk's HTTP Event Collector, and a webhook for everything else.

Answers are read strictly: what says that the receiver is unwell is waited out, what says that a record will never pass is
told apart, and nothing that a proxy answers in the receiver's place counts as taken. No error holds a URL, a token or
what was answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from yarl import URL

from broker.audit.sinks.parcel import Parcel, SinkDown, SinkRefused
from broker.core.clock import Clock
from broker.core.secret import Secret

_SECONDS = 5.0
# Of an answer nobody needs more.
_ANSWER_MAX = 64 * 1024
_SUCCESS = range(200, 300)
_BAD_REQUEST, _TOO_LARGE, _UNPROCESSABLE = 400, 413, 422
# Splunk's codes for a 400 that is about the events; the others are about the token, the index or the channel.
# Splunk, "Troubleshoot HTTP Event Collector": 5 no data, 6 invalid format, 12 event missing, 13 event blank, 15 bad fields.
_ABOUT_THE_EVENTS = frozenset({5, 6, 12, 13, 15})
_SOURCE_TYPES = {"native": "zerotrust:audit", "ocsf": "zerotrust:audit:ocsf", "ecs": "zerotrust:audit:ecs"}
# Splunk asks for ten seconds between two questions; a request waits for the answer here, and most indexers take one.
_ASK_EVERY_SECONDS = 0.5
_ACKNOWLEDGED_WITHIN_SECONDS = 30.0


class Post:
    """One POST at a time to one receiver; its connection is kept."""

    def __init__(self, *, context: ssl.SSLContext, clock: Clock) -> None:
        self._context = context
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: Secret, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer, where it is 2xx or says something about the records.

        Raises:
            SinkDown: There is none, or it is about something else.
        """
        try:
            status, answer, wish = await self._exchange(url, body, headers)
        except TimeoutError:
            raise SinkDown(f"no answer in {_SECONDS:.0f} seconds") from None
        except aiohttp.ClientConnectorCertificateError:
            raise SinkDown("its certificate is not believed") from None
        except aiohttp.ClientError as error:
            # "from None": aiohttp's errors may carry the URL, and with it what makes a webhook secret.
            raise SinkDown(f"no connection ({type(error).__name__})") from None
        if status in _SUCCESS or status in (_BAD_REQUEST, _TOO_LARGE, _UNPROCESSABLE):
            return status, answer
        raise SinkDown(f"HTTP {status}", retry_after=_seconds(wish, self._clock.now()))

    async def close(self) -> None:
        """Let the connection go."""
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, url: Secret, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        if self._session is None:
            # One that follows no redirect, keeps no cookie, and asks no proxy.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=1, ssl=self._context),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
            )
        target = URL(url.reveal(), encoded=True)
        async with self._session.post(target, data=body, headers=headers, allow_redirects=False) as answer:
            read = b""
            async for chunk in answer.content.iter_any():
                read += chunk
                if len(read) > _ANSWER_MAX:
                    break
            return answer.status, read, answer.headers.get("Retry-After", "")


class Splunk:
    """The HTTP Event Collector. ``acknowledge``: a record counts as taken when an indexer has it, not when Splunk has read it."""

    settles_after = 0.0

    def __init__(self, *, post: Post, url: str, token: Secret, index: str | None, form: str, acknowledge: bool) -> None:
        """Take the parts; ``url`` is the collector's scheme, host and port."""
        self._post = post
        self._events = Secret(f"{url}/services/collector/event")
        self._acks = Secret(f"{url}/services/collector/ack")
        self._headers = {"Authorization": f"Splunk {token.reveal()}", "Content-Type": "application/json"}
        self._common = {"source": "zerotrust-broker", "sourcetype": _SOURCE_TYPES[form]}
        if index is not None:
            self._common["index"] = index
        self._acknowledge = acknowledge
        if acknowledge:
            self._headers["X-Splunk-Request-Channel"] = str(uuid.uuid4())

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """See ``Sink``."""
        body = b"\n".join(self._event(parcel) for parcel in parcels)
        status, text = await self._post(self._events, body, self._headers)
        answer = _json(text)
        code = answer.get("code")
        if status in _SUCCESS and code == 0:
            if self._acknowledge:
                await self._wait_for(answer.get("ackId"))
        elif status == _TOO_LARGE or (status == _BAD_REQUEST and code in _ABOUT_THE_EVENTS):
            raise SinkRefused(f"HTTP {status}, code {code}")
        else:
            said = f"code {code}" if isinstance(code, int) else "and no answer of Splunk's"
            raise SinkDown(f"HTTP {status}, {said}")

    async def close(self) -> None:
        """See ``Sink``."""
        await self._post.close()

    def _event(self, parcel: Parcel) -> bytes:
        envelope = orjson.dumps({
            **self._common, "time": _epoch(parcel.members), "host": parcel.instance.rpartition("-")[0]
        })  # fmt: skip
        # The record byte by byte, as it was signed.
        return envelope[:-1] + b',"event":' + parcel.payload + b"}"

    async def _wait_for(self, number: object) -> None:
        if not isinstance(number, int):
            raise SinkDown("no ackId: indexer acknowledgment is not enabled for the token")
        question = orjson.dumps({"acks": [number]})
        try:
            async with asyncio.timeout(_ACKNOWLEDGED_WITHIN_SECONDS):
                while True:
                    _, text = await self._post(self._acks, question, self._headers)
                    acks = _json(text).get("acks")
                    if isinstance(acks, dict) and acks.get(str(number)) is True:
                        return
                    await asyncio.sleep(_ASK_EVERY_SECONDS)
        except TimeoutError:
            raise SinkDown(f"no indexer has the records after {_ACKNOWLEDGED_WITHIN_SECONDS:.0f} seconds") from None


class Webhook:
    """A JSON array of records to any URL, with a bearer token, a signature, or whatever is in the URL."""

    settles_after = 0.0

    def __init__(self, *, post: Post, url: Secret, bearer: Secret | None, hmac_key: Secret | None) -> None:
        self._post = post
        self._url = url
        self._headers = {"Content-Type": "application/json"}
        if bearer is not None:
            self._headers["Authorization"] = f"Bearer {bearer.reveal()}"
        self._hmac_key = hmac_key

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """See ``Sink``."""
        body = b"[" + b",".join(parcel.payload for parcel in parcels) + b"]"
        headers = dict(self._headers)
        if self._hmac_key is not None:
            made = hmac.new(self._hmac_key.reveal().encode(), body, hashlib.sha256).hexdigest()
            headers["X-Zerotrust-Signature"] = f"sha256={made}"
        status, _ = await self._post(self._url, body, headers)
        if status not in _SUCCESS:
            raise SinkRefused(f"HTTP {status}")

    async def close(self) -> None:
        """See ``Sink``."""
        await self._post.close()


def _json(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _epoch(members: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(str(members["timestamp"])).timestamp()


def _seconds(wish: str, now: datetime) -> float | None:
    """``Retry-After``, RFC 9110 section 10.2.3: seconds or a date."""
    if wish.isdecimal() and wish.isascii():
        return float(wish[:9])
    try:
        moment = parsedate_to_datetime(wish)
    except (TypeError, ValueError):
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
