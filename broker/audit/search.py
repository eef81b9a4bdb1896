"""Finds the records that hold certain values, among millions: bytes first, JSON only of the lines that contain them.

No index is kept, so none can lie. Nothing is checked here: a line that is found says what it says.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from broker.audit.chain import BrokenRecord, position_of
from broker.audit.reading import blocks, lines, record_files

# The record files of one instance, oldest first.
Chain: TypeAlias = tuple[Path, ...]

# Up to so many values each are looked for by themselves; past it, one expression takes the values out of every line.
_BY_ITSELF = 8


@dataclass(frozen=True, slots=True)
class Found:
    """A line (without its line feed) that holds what was looked for, where it lies, what it says; None: it is no JSON object."""

    path: Path
    line: bytes
    record: Mapping[str, Any] | None

    @property
    def says(self) -> Mapping[str, Any]:
        """The record's members; none where it is no record."""
        return self.record or {}

    @property
    def order(self) -> tuple[str, str, int]:
        """Oldest first; of one instant by place, for the clock is coarser than the chain."""
        seq = self.says.get("seq")
        return str(self.says.get("timestamp")), str(self.says.get("instance")), seq if isinstance(seq, int) else 0


def chains_of(roots: Iterable[Path]) -> list[Chain]:
    """The record files named, and those of the directories named; each once, those of one instance together and in their order.

    Raises:
        OSError: A file or directory cannot be read.
    """
    paths = [path for root in roots for path in (record_files(root) if root.is_dir() else [root])]
    chains: dict[str, list[tuple[int, Path]]] = {}
    for path in {(path.stat().st_dev, path.stat().st_ino): path for path in paths}.values():
        first = next(lines(path), b"").rstrip(b"\n")
        try:
            position = position_of(first)
        except BrokenRecord:
            # What is wrong with it is for `verify` to say; what it holds is searched all the same.
            chains[str(path)] = [(0, path)]
        else:
            chains.setdefault(position.instance, []).append((position.head.seq, path))
    return [tuple(path for _, path in sorted(chain)) for _, chain in sorted(chains.items())]


def said(member: str, value: str) -> bytes:
    """How a record says that a member has this value (RFC 8785)."""
    return b'"%b":%b' % (member.encode(), orjson.dumps(value))


def value(text: str) -> bytes:
    """How a record says this value, whatever the member."""
    return orjson.dumps(text)


def search(chains: Sequence[Chain], needles: Collection[bytes]) -> Iterator[Found]:
    """The lines that hold any of these bytes, oldest first: within an instance by place, of several instances by time.

    Args:
        chains: Record files, of each instance in their order.
        needles: What ``said`` or ``value`` makes.

    Raises:
        OSError: A file cannot be read.
    """
    return _merged(chains, lambda path: _of_file(path, needles))


def search_members(
    chains: Sequence[Chain], members: Sequence[str], values: Collection[str], *, also: bytes = b""
) -> Iterator[Found]:
    """The lines in which any of these members has any of these values, however many there are, and that hold ``also`` too.

    Order and errors as for ``search``.
    """
    if not values:
        return iter(())
    if len(values) * len(members) <= _BY_ITSELF:
        needles = [said(member, one) for member in members for one in values]
        return (found for found in search(chains, needles) if also in found.line)
    wanted = frozenset(map(value, values))
    said_any = re.compile(rb'"(?:%b)":("(?:[^"\\]|\\.)*")' % "|".join(members).encode())
    return _merged(chains, lambda path: _among(path, said_any, wanted, also))


def _merged(chains: Sequence[Chain], of_file: Callable[[Path], Iterator[Found]]) -> Iterator[Found]:
    # One file of an instance is open at a time: a year of segments would hold a year of blocks in the memory.
    each = (itertools.chain.from_iterable(map(of_file, chain)) for chain in chains)
    return heapq.merge(*each, key=lambda found: found.order)


def _of_file(path: Path, needles: Collection[bytes]) -> Iterator[Found]:
    for block in blocks(path):
        ends: dict[int, int] = {}
        for needle in needles:
            at = block.find(needle)
            while at >= 0:
                start, end = _line_around(block, at)
                ends[start] = end
                at = block.find(needle, end)
        for start, end in sorted(ends.items()):
            yield found_in(path, block[start:end])


def _among(path: Path, said_any: re.Pattern[bytes], wanted: Collection[bytes], also: bytes) -> Iterator[Found]:
    for block in blocks(path):
        behind = 0
        for match in said_any.finditer(block):
            if match.start() >= behind and match[1] in wanted:
                start, behind = _line_around(block, match.start())
                if block.find(also, start, behind) >= 0:
                    yield found_in(path, block[start:behind])


def _line_around(block: bytes, at: int) -> tuple[int, int]:
    end = block.find(b"\n", at)
    return block.rfind(b"\n", 0, at) + 1, len(block) if end < 0 else end


def found_in(path: Path, line: bytes) -> Found:
    """A line as a record, if it is one."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        record = None
    return Found(path, line, record if isinstance(record, dict) else None)
