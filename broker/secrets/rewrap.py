"""Sealing anew what older keys sealed, beside everything else that goes on.

There is no list of what is done: a row says itself in its first bytes which key sealed it, so a pass that was broken off is begun
again and finds its place, and one that has nothing to do reads nothing else. Rows are swapped only where nobody changed them
meanwhile; who did has sealed the head with the newest key, and its older versions come at the second look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from broker.remote.failure import Malformed
from broker.secrets.rows import PAGE, Rows
from broker.secrets.seals import Seals
from broker.secrets.store import Snapshot, Swap

# Secrets held at once: each has up to a hundred versions of 64 KiB.
_TOGETHER = 8
# Bytes written in one transaction: one wait for the disk for many secrets, and no long one for whoever writes meanwhile.
_BATCH_BYTES = 512 << 10
_LOOKS = 4

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Rewrapped:
    """Secrets looked at, those sealed anew, and those that do not open and stay as they are."""

    seen: int = 0
    renewed: int = 0
    broken: int = 0


async def rewrapped(rows: Rows, *, tell: Callable[[Rewrapped], None] = lambda _: None) -> Rewrapped:
    """One pass. Broken off at any moment it leaves each secret sealed by the old keys or by the newest, whole.

    ``tell`` hears after each page what is done by then.
    """
    done = Rewrapped()
    await _renew_header(rows)
    after = b""
    while page := await rows.store.beginnings(after, limit=PAGE):
        seals = await rows.seals()
        names = [name for name, found in page if not all(map(seals.is_newest, found))]
        for _ in range(_LOOKS):
            names = await _renewed(rows, names, done)
        after = page[-1][0]
        done.seen += len(page)
        tell(done)
        await asyncio.sleep(0)
    return done


async def _renewed(rows: Rows, names: Sequence[bytes], done: Rewrapped) -> list[bytes]:
    """Those that somebody else changed meanwhile."""
    seals = await rows.seals()
    swaps: list[Swap] = []
    lost: list[bytes] = []
    weight = 0
    for at in range(0, len(names), _TOGETHER):
        chunk = names[at : at + _TOGETHER]
        wholes = await asyncio.gather(*(rows.store.whole(name) for name in chunk))
        for name, kept in zip(chunk, wholes, strict=True):
            swap = None if kept is None else await _swap_of(rows, seals, name, kept, done)
            if swap is not None:
                swaps.append(swap)
                weight += len(swap.after) + sum(len(blob) for blob in swap.puts.values())
        if weight > _BATCH_BYTES or at + _TOGETHER >= len(names):
            lost += await _swapped(rows, swaps, done)
            swaps, weight = [], 0
    return lost


async def _swapped(rows: Rows, swaps: Sequence[Swap], done: Rewrapped) -> list[bytes]:
    made = await rows.store.swap(swaps) if swaps else []
    done.renewed += sum(made)
    return [swap.name for swap, is_made in zip(swaps, made, strict=True) if not is_made]


async def _swap_of(rows: Rows, seals: Seals, name: bytes, kept: Snapshot, done: Rewrapped) -> Swap | None:
    """None where nothing is to be done, or nothing can be."""
    what = name.hex()
    old = {number: blob for number, blob in kept.versions.items() if not seals.is_newest(blob)}
    try:
        if kept.use is not None and not seals.is_newest(kept.use) and (stamp := seals.used(name, kept.use)):
            await rows.store.note({name: seals.use(name, stamp)})
        if not old and seals.is_newest(kept.head):
            return None
        metadata = seals.metadata(name, kept.head)
        what = metadata.path
        known = {one.number for one in metadata.versions if one.destroyed is None}
        return Swap(
            name=name,
            before=kept.head,
            after=seals.head(metadata),
            puts={
                number: seals.version(metadata, number, seals.text(metadata, number, blob))
                for number, blob in old.items()
                if number in known
            },
            # What no head knows of is nobody's, and would hold up the destruction of a key for ever.
            drops=old.keys() - known,
        )
    except Malformed as error:
        _log.error("vault: %s; it stays as it is", error)
        rows.hear(name, what, error)
        done.broken += 1
        return None


async def _renew_header(rows: Rows) -> None:
    seals = await rows.seals()
    if not seals.is_header_newest():
        await rows.store.put_header(seals.header, seals.renewed_header())
        await rows.again()
