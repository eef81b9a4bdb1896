"""The broker's own AWS credentials out of a vault: read again from time to time, before a lease ends, and when AWS refuses them.

Nobody waits while there are some that still work: new ones are fetched beside the calls that are signed with the old ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from botocore.credentials import ReadOnlyCredentials

from broker.core.clock import Clock
from broker.core.errors import StsUnavailable
from broker.core.secret import Secret
from broker.sts.refusals import NO_BASE

# A chain has 4.5 s.
_PATIENCE = timedelta(seconds=2)
# Seconds. With less left of a lease there may not be enough for the calls of a chain: then its caller waits for new ones.
_TOO_LATE = 30.0
# Of a lease, when new ones are fetched; what is leftover bears a vault that is away.
_FETCHED_AT = 0.6
# Seconds between two tries of a vault that gives nothing.
_AGAIN = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a vault holds. ``lasts``: seconds, of those that were made for us; None for those that stay until they are changed."""

    access_key_id: str
    secret_key: Secret
    session_token: Secret | None
    lasts: float | None


class VaultCredentials:
    """See ``BaseCredentials``."""

    def __init__(self, *, ttl: timedelta, clock: Clock) -> None:
        """``ttl``: for how long what stays is used without a look whether it was changed."""
        self._ttl = ttl.total_seconds()
        self._clock = clock
        self._read: Callable[[], Awaitable[Keys]] | None = None
        self._found: ReadOnlyCredentials | None = None
        self._ends: float | None = None
        self._due = 0.0
        self._looking: asyncio.Future[ReadOnlyCredentials] | None = None
        self._failure: str | None = None

    def read_from(self, read: Callable[[], Awaitable[Keys]]) -> None:
        """Where they are. ``read`` raises ``StsUnavailable`` where there are none; nothing is read yet."""
        self._read = read

    async def current(self) -> ReadOnlyCredentials:
        """See ``BaseCredentials``."""
        now = self._clock.boottime()
        if self._found is None or (self._ends is not None and now >= self._ends - _TOO_LATE):
            return await self._looked_for()
        if now >= self._due:
            self._look()
        return self._found

    async def renew(self) -> None:
        """See ``BaseCredentials``."""
        with contextlib.suppress(StsUnavailable):
            await self._looked_for()

    async def _looked_for(self) -> ReadOnlyCredentials:
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                return await asyncio.shield(self._look())
        except TimeoutError as error:
            raise StsUnavailable("the vault does not give the broker's own keys in time", reason=NO_BASE) from error

    def _look(self) -> asyncio.Future[ReadOnlyCredentials]:
        """The look that is under way, or a new one."""
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._fetch())
            self._looking.add_done_callback(self._looked)
        return self._looking

    async def _fetch(self) -> ReadOnlyCredentials:
        if self._read is None:
            raise StsUnavailable("nobody said where the broker's own keys are", reason=NO_BASE)
        # From before the question: what is leased counts from then at the earliest.
        now = self._clock.boottime()
        keys = await self._read()
        token = keys.session_token.reveal() if keys.session_token else None
        self._found = ReadOnlyCredentials(keys.access_key_id, keys.secret_key.reveal(), token)
        self._ends = None if keys.lasts is None else now + keys.lasts
        self._due = now + (self._ttl if keys.lasts is None else keys.lasts * _FETCHED_AT)
        return self._found

    def _looked(self, looking: asyncio.Future[ReadOnlyCredentials]) -> None:
        self._looking = None
        error = None if looking.cancelled() else looking.exception()
        if error is None:
            self._failure = None
            return
        self._due = self._clock.boottime() + _AGAIN
        # In the log once for each kind of failure: every request may cause a look.
        if str(error) != self._failure:
            self._failure = str(error)
            _log.warning("the broker's own keys were not read from the vault: %s", error)
