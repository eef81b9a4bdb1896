"""Who else uses a thing (a role by a rule, a network): marks of persons with the day of their last use, a few of them."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

Crowd = Mapping[str, int]

# Enough to know that there are others; whoever used it last stays longest.
_MAX = 16
# Days after which a use says nothing any more.
_FORGOTTEN_AFTER = 30


def joined(crowd: Crowd, own: str, *, day: int) -> Crowd:
    """With one who used it on this day."""
    kept = {each: last for each, last in crowd.items() if day - last < _FORGOTTEN_AFTER and each != own}
    if len(kept) >= _MAX:
        del kept[min(kept, key=lambda each: kept[each])]
    return {**kept, own: day}


def others(crowd: Crowd, own: str, *, day: int) -> int:
    """How many other persons used it of late."""
    return sum(day - last < _FORGOTTEN_AFTER for each, last in crowd.items() if each != own)


def encoded(crowd: Crowd) -> bytes:
    """JSON."""
    return orjson.dumps(crowd)


def decoded(text: bytes) -> Crowd:
    """The inverse of ``encoded``."""
    found: dict[str, int] = orjson.loads(text)
    return found
