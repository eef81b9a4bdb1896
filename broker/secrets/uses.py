"""When secrets were last read: noted in memory, written down together from time to time.

A note that is lost, with the process or with the store's last second, is a use that the records of the audit log still hold.
"""

from __future__ import annotations

from broker.secrets.metadata import Stamp
from broker.secrets.seals import Seals
from broker.secrets.store import Store


class Uses:
    """Of this process, before they are written down."""

    def __init__(self, *, store: Store) -> None:
        self._store = store
        self._pending: dict[bytes, Stamp] = {}

    def note(self, name: bytes, stamp: Stamp) -> None:
        """Remember a use."""
        self._pending[name] = stamp

    async def of(self, seals: Seals, name: bytes) -> Stamp | None:
        """The last use that is known."""
        pending = self._pending.get(name)
        blob = (await self._store.uses([name])).get(name)
        kept = None if blob is None else seals.used(name, blob)
        return _later(pending, kept)

    async def flush(self, seals: Seals) -> None:
        """Write down what was noted; what cannot be stays noted."""
        pending, self._pending = self._pending, {}
        try:
            kept = await self._store.uses(list(pending))
            later = {
                name: stamp
                for name, stamp in pending.items()
                if name not in kept or _later(stamp, seals.used(name, kept[name])) == stamp
            }
            if later:
                await self._store.note({name: seals.use(name, stamp) for name, stamp in later.items()})
        except BaseException:
            self._pending = pending | self._pending
            raise


def _later(one: Stamp | None, other: Stamp | None) -> Stamp | None:
    if one is None or other is None:
        return one or other
    return one if one.at >= other.at else other
