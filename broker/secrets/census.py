"""How many secrets there are, and in which state, for gauges: counted in the background at a pace that nobody feels.

A hundred thousand heads take six seconds of work to open (docs/vault.md). Between two pages everybody else has the floor, so a
pass over them takes minutes and a twentieth of a core; nobody who looks at /metrics waits for one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from broker.remote.failure import RemoteFailure
from broker.secrets.metadata import Tally
from broker.secrets.vault import Vault

_EVERY_SECONDS = 300.0
# Behind each page of 64, which takes some milliseconds.
_PAUSE_SECONDS = 0.05
_LOOK_AGAIN_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Census:
    """Of the integrated vault. ``tally`` is None until there is one, and while the store does not answer."""

    def __init__(self, *, vault: Vault, is_wanted: Callable[[], bool]) -> None:
        """``is_wanted``: whether anybody may ask the vault for anything; nobody begins a store just to count it."""
        self._vault = vault
        self._is_wanted = is_wanted
        self.tally: Tally | None = None

    @property
    def states(self) -> Mapping[str, float]:
        """How many in each state; a secret is in one."""
        found = self.tally
        if found is None:
            return {}
        return {
            "live": float(found.live),
            "expired": float(found.expired),
            "archived": float(found.archived),
            "damaged": float(found.damaged),
        }

    @property
    def overdue(self) -> float:
        """How many want a new version; not a number while nobody has counted."""
        return float("nan") if self.tally is None else float(self.tally.overdue)

    async def keep_counting(self) -> None:
        """Runs until cancelled."""
        while True:
            if not self._is_wanted():
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                continue
            await self.count()
            await asyncio.sleep(_EVERY_SECONDS)

    async def count(self) -> None:
        """One pass."""
        try:
            self.tally = await self._vault.tally(pause=_PAUSE_SECONDS)
        except RemoteFailure as failure:
            self.tally = None
            _log.warning("the vault's secrets are not counted: %s", failure)
