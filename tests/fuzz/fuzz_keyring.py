"""Entries of a keyring, as a Redis that somebody else controls returns them: what has the shape of one, and what opens."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from unittest.mock import patch

from broker.keys.envelope import CannotOpen
from broker.keys.hierarchy import KeyVersion, Kind
from broker.keys.keyring import OWN, Entry, Kek, Ring, decoded, encoded, kek_id, tombstone, unwrapped, wrapped_version

if TYPE_CHECKING:
    from collections.abc import Iterator

KEK_KEY = b"k" * 32
VERSION, MASTER = KeyVersion(b"v" * 32), KeyVersion(b"m" * 32)


def made() -> list[Entry]:
    """The same in each process, so that what one run kept is no forgery to the next."""
    with patch("os.urandom", random.Random(1).randbytes):  # noqa: S311  # that is what it is for
        return [
            wrapped_version(VERSION, kind=Kind.DATA, kek=KEK_KEY, made=1, seals_from=2),
            wrapped_version(MASTER, kind=Kind.NAME, kek=KEK_KEY, made=1, seals_from=OWN),
            tombstone("session", "0a", kek=KEK_KEY, at=3),
            tombstone("kek", kek_id(KEK_KEY), kek=KEK_KEY, at=3),
        ]


OURS = made()
TIME_END = 253_402_300_800_000  # ms: the year 10000


def seeds() -> Iterator[bytes]:
    yield from map(encoded, OURS)
    yield encoded(Kek(id="0a", master="aws-kms:alias/broker", made=1, wrapped=b"x"))
    yield b'{"name": "kek/0a/\\ud800", "id": "0a", "master": "\\ud800", "made": 1, "wrapped": "eA=="}'
    yield b'{"name": "kek/\\ud800/m", "id": "\\ud800", "master": "m", "made": 1, "wrapped": "eA=="}'


def one_input(data: bytes) -> None:
    try:
        entry = decoded(data)
    except ValueError as error:
        assert str(error) == "not an entry of a keyring"
        return
    assert decoded(encoded(entry)) == entry
    assert entry.name.encode().decode().isprintable()
    times = [getattr(entry, name) for name in ("made", "at", "seals_from") if hasattr(entry, name)]
    assert all(0 <= time < TIME_END for time in times)
    # Whatever else it is, a ring with it is a ring.
    ring = Ring.of([*OURS, entry])
    assert set(OURS) - {entry} <= {*ring, *OURS}
    assert {("session", "0a"), ("kek", kek_id(KEK_KEY))} <= ring.gone()
    judge_opened(entry)


def judge_opened(entry: Entry) -> None:
    if isinstance(entry, Kek):
        # What it is opened with is a master's, and asked for.
        assert len(entry.context) < len(entry.id) + 64
        return
    try:
        unwrapped(entry, kek=KEK_KEY)
    except CannotOpen:
        assert entry not in OURS
    else:
        assert any(entry.context == one.context and entry.wrapped == one.wrapped for one in OURS)
