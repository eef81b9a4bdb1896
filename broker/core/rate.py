"""So many in a time."""

from __future__ import annotations

from typing import NamedTuple


class Rate(NamedTuple):
    """``number`` in any ``seconds``."""

    number: int
    seconds: int
