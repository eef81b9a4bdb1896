"""A target that breaks every promise, each for one first byte: what shows that the runner would see it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EXCEPTION, SLOWNESS, GREED = b"!", b"S", b"M"

_SLOW_SECONDS = 1.5
_GREEDY_BYTES = 700 * 1024 * 1024
kept: list[bytes] = []


def seeds() -> Iterator[bytes]:
    yield b"harmless"


def one_input(data: bytes) -> None:
    match data[:1]:
        case b"!":
            raise KeyError(data)
        case b"S":
            until = time.process_time() + _SLOW_SECONDS
            while time.process_time() < until:
                pass
        case b"M":
            kept.append(b"m" * _GREEDY_BYTES)
            time.sleep(2)  # libFuzzer looks at the memory once a second
