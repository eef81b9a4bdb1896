"""The vault's seals follow the keys (``broker.keys.sealed``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from broker.keys.hierarchy import KeyHierarchy, Kind
from broker.secrets.rewrap import Rewrapped


class _Vault(Protocol):
    async def rewrap(self) -> Rewrapped: ...


class Resealing:
    """A pass over all secrets for each version that seals, and a second one that finds nothing left to do."""

    name = "vault"

    def __init__(self, *, vault: _Vault, hierarchy: KeyHierarchy, all_versions: Callable[[], frozenset[str]]) -> None:
        """``all_versions`` are the ids of whatever could be needed, while it is not known what is."""
        self._vault = vault
        self._hierarchy = hierarchy
        self._all = all_versions
        self._done_with: tuple[str, int] | None = None

    async def reseal(self) -> frozenset[str]:
        """Raises: Exception: The store does not answer."""
        # With the turn: an older version that sealed for a moment in between (a clock was set back) is not overlooked.
        newest, turn = self._hierarchy.sealing(Kind.DATA), self._hierarchy.turn
        if (newest, turn) != self._done_with:
            done = await self._vault.rewrap()
            # What does not open may be put right by a copy of before, which the old keys open.
            if done.renewed or done.broken or self._hierarchy.turn != turn:
                return self._all()
            self._done_with = newest, turn
        return frozenset({newest})
