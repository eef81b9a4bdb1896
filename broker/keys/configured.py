"""Values of the configuration that lie in its file sealed: each opens at its own key of it, and nowhere else.

The key comes from the master's own bytes and from nothing that rotates by itself: nobody re-seals what stands in an operator's
file. A new master opens what its predecessors sealed, while they are named.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.keys.envelope import CannotOpen, Envelope, armoured, unarmoured
from broker.keys.hierarchy import KeyHierarchy, Use

_CONTEXT = b"zerotrust/configuration/v1\0"


def seal_value(text: str, *, key: str, masters: Sequence[bytes]) -> str:
    """``text`` for the dotted ``key``, as one word of base64. ``masters``: the one in force, then its predecessors."""
    return armoured(_envelope(masters).seal(text.encode(), context=_context(key))).decode().strip()


def open_value(sealed: str, *, key: str, masters: Sequence[bytes]) -> str | None:
    """What ``seal_value`` was given for the same key; None for all else."""
    try:
        return _envelope(masters).open(unarmoured(sealed.encode() + b"\n"), context=_context(key)).decode()
    except CannotOpen:
        return None


def _envelope(masters: Sequence[bytes]) -> Envelope:
    hierarchy = KeyHierarchy(master=masters[0], former=masters[1:])
    return Envelope(keys=hierarchy.derive_all(Use.CONFIGURATION_SEAL))


def _context(key: str) -> bytes:
    return _CONTEXT + key.encode()
