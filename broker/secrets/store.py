"""The port behind which the integrated vault's sealed rows lie, and what it is trusted with: nothing.

A row is bytes under a name of bytes; a secret has a head, sealed versions by number, and a note of its last use. A store
keeps what it is given, durably before it says so, whole or not at all, and swaps only what is still as it was read.
Whether what it gives back is what was put there, and who may read it, is the vault's affair.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from broker.keys.envelope import HEADER_BYTES
from broker.remote.failure import Malformed

# How a header begins: what tells this store from every other, in the clear.
GENERATION_BYTES = 16

# How a sealed row begins: enough for ``Envelope.is_newest``.
BEGINNING_BYTES = HEADER_BYTES

REPLACED = "replaced"


def replaced() -> Malformed:
    """What a store raises that finds itself under another header than it was begun with."""
    return Malformed(
        "the vault's store was emptied, or another lies in its place — fix: restore it; restart the broker if that was you",
        reason=REPLACED,
    )


@dataclass(frozen=True, slots=True)
class Swap:
    """One change of one secret. ``before`` is the head as it was read, None where there was none; ``after`` takes its place.

    ``puts`` are versions to keep, ``drops`` versions to forget.
    """

    name: bytes
    before: bytes | None
    after: bytes
    puts: Mapping[int, bytes] = field(default_factory=dict)
    drops: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows of one secret, of one moment."""

    head: bytes
    versions: Mapping[int, bytes]
    use: bytes | None = None


class Store(Protocol):
    """Where rows lie. What it raises is of ``broker.remote.failure``; Unreachable: trying later may help."""

    async def begin(self, proposed: bytes) -> bytes:
        """The header of the store: ``proposed`` where there is none yet, else what lies there.

        Raises:
            Malformed: There are rows and no header, or this is no store of ours.
        """

    async def header(self) -> bytes | None:
        """What lies there now."""

    async def head(self, name: bytes) -> bytes | None:
        """The head of a secret."""

    async def version(self, name: bytes, number: int) -> bytes | None:
        """One sealed version."""

    async def whole(self, name: bytes) -> Snapshot | None:
        """All of a secret, as it is at one moment."""

    async def swap(self, swaps: Sequence[Swap]) -> Sequence[bool]:
        """Make each change whose ``before`` is what lies there, each whole or not at all; which ones were made.

        All that is said to be made is on stable storage, as far as the store has any.

        Raises:
            Malformed: The header is not of the generation that ``begin`` gave (``replaced``).
        """

    async def heads(self, after: bytes, *, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """Names and heads, in the order of names, behind ``after`` (b"" to begin); none at the end."""

    async def beginnings(self, after: bytes, *, limit: int) -> Sequence[tuple[bytes, Sequence[bytes]]]:
        """Names as above, and how each of a secret's rows begins (``BEGINNING_BYTES``): which key sealed it, not what."""

    async def note(self, uses: Mapping[bytes, bytes]) -> None:
        """Keep notes of last uses, of secrets that are there. May be lost with the machine."""

    async def uses(self, names: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The notes kept of these."""

    async def put_header(self, before: bytes, after: bytes) -> bool:
        """Exchange the header, where it is still ``before``."""

    async def scrub(self) -> None:
        """What was dropped shall be gone from the medium too, as far as that is ours to do."""

    async def ping(self) -> str | None:
        """None while it answers and keeps what it is given, else what is wrong: within two seconds."""

    async def close(self) -> None:
        """Let go."""
