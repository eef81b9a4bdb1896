"""The alarm that somebody writes to the vault's store: a signed record of each finding, once, and a count.

The same row is found again by everybody who asks for it; and whoever owns the store can make as many findings as it has rows.
So a finding is told once as long as it is remembered, and no more than ``_RECORDS`` in a minute: each record says how many were
not told before it, and what was not told is when it is found the next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from datetime import timedelta

from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.core.clock import Clock
from broker.core.errors import AuditUnavailable
from broker.remote.failure import Malformed

# What no accident does to single rows. A key that is missing, or a file that is cut, is an operator's affair.
_TAMPERED = frozenset({"altered", "rolled_back", "vanished", "replaced"})
_EVERY = timedelta(minutes=1)
_RECORDS = 20
# Findings; a few hundred bytes each.
_REMEMBERED_MAX = 10_000

_log = logging.getLogger(__name__)

# Where it lies, and what is wrong with it.
_Key = tuple[bytes, str]


class VaultAlarm:
    """Hears of what does not open, from wherever the vault is asked; tells in the background. Never raises."""

    def __init__(self, *, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._since = clock.boottime()
        self._recorded = 0
        self._unrecorded = 0
        self._known: OrderedDict[_Key, None] = OrderedDict()
        self._waiting: asyncio.Queue[tuple[_Key, str, str]] = asyncio.Queue()
        self.found = 0

    def hear(self, name: bytes, what: str, failure: Malformed) -> None:
        """Of the row ``name``, which people call ``what``: its path, where that is known."""
        key = name, failure.reason
        if failure.reason not in _TAMPERED or key in self._known:
            return
        self._known[key] = None
        if len(self._known) > _REMEMBERED_MAX:
            self._known.popitem(last=False)
        self.found += 1
        self._waiting.put_nowait((key, what, str(failure).partition(" — fix: ")[0]))

    async def keep_telling(self) -> None:
        """Runs until cancelled."""
        while True:
            await self.tell(*await self._waiting.get())

    async def tell(self, key: _Key, what: str, how: str) -> None:
        """On record, as far as there may be one."""
        if self._clock.boottime() - self._since >= _EVERY.total_seconds():
            self._since, self._recorded = self._clock.boottime(), 0
        if self._recorded >= _RECORDS:
            self._untold(key)
            return
        self._recorded += 1
        unrecorded, self._unrecorded = self._unrecorded, 0
        event = Event(
            action="read_vault",
            resource=what,
            kind=Kind.VAULT_TAMPER,
            reason=f"row_{key[1]}",
            details={"found": how, "unrecorded": unrecorded},
        )
        try:
            await self._audit.record(event)
        except AuditUnavailable as error:
            self._unrecorded += unrecorded
            self._untold(key)
            _log.error("vault: somebody writes to its store, and that is not recorded: %s", error)

    def _untold(self, key: _Key) -> None:
        self._unrecorded += 1
        self._known.pop(key, None)
