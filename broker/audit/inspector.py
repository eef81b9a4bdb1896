"""Looks at lines each by itself, which is nearly all the work of a verification, in one process or in several.

What has to be done in order, whether each record follows the one before, is left to whoever asks, who gets the lines in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from broker.audit.chain import BrokenRecord, digest_of, signed
from broker.audit.tree import leaf_hash
from broker.keys.signing import KeySet

# As many lines go to a process at once; at 100 us a signature that is 50 ms of work for half a megabyte of copying.
_BATCH = 500
# Below this one process is done before several have begun: some 20,000 records.
WORTH_PROCESSES_BYTES = 16 << 20
# Batches in flight a process: one being worked on, one waiting. More would only fill the memory.
_AHEAD = 2

# What whoever walks along a log needs of a record.
_NEEDED = ("seq", "prev", "kid", "successor", "instance", "event", "segment", "neighbour")


@dataclass(frozen=True, slots=True)
class Inspected:
    """A record that is as it was signed: the members that are needed, the hash of its line, its leaf."""

    record: Mapping[str, Any]
    digest: str
    leaf: bytes


@dataclass(frozen=True, slots=True)
class NoLineFeed:
    """A line that does not end in one."""

    line: bytes


Result: TypeAlias = Inspected | NoLineFeed | BrokenRecord


def inspect(line: bytes, *, keys: KeySet) -> Result:
    """What a line, with its line feed, shows by itself."""
    if not line.endswith(b"\n"):
        return NoLineFeed(line)
    record = line[:-1]
    try:
        members = signed(record, keys=keys)
    except BrokenRecord as error:
        return error
    needed = {name: members[name] for name in _NEEDED if name in members}
    return Inspected(record=needed, digest=digest_of(record), leaf=leaf_hash(record))


class Inspector:
    """With one process, works where it is asked; with several, they work and this one reads ahead for them."""

    def __init__(self, *, jwks: Mapping[str, Any], processes: int) -> None:
        self._keys = KeySet(jwks=jwks)
        self._ahead = processes * _AHEAD
        self._pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=(jwks,)) if processes > 1 else None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def inspected(self, items: Iterable[tuple[Path, bytes]]) -> Iterator[tuple[Path, Result]]:
        """Each line's path and what it shows, in order."""
        if self._pool is None:
            for path, line in items:
                yield path, inspect(line, keys=self._keys)
            return
        rest, flying = iter(items), deque[tuple[list[Path], Future[list[Result]]]]()
        while batch := list(islice(rest, _BATCH)):
            flying.append(([path for path, _ in batch], self._pool.submit(_inspect_all, [line for _, line in batch])))
            if len(flying) > self._ahead:
                yield from _landed(flying)
        while flying:
            yield from _landed(flying)


def _landed(flying: deque[tuple[list[Path], Future[list[Result]]]]) -> Iterator[tuple[Path, Result]]:
    paths, results = flying.popleft()
    return zip(paths, results.result(), strict=True)


# A process's own, set as it begins.
_keys: list[KeySet] = []


def _begin(jwks: Mapping[str, Any]) -> None:
    _keys.append(KeySet(jwks=jwks))


def _inspect_all(batch: list[bytes]) -> list[Result]:
    return [inspect(line, keys=_keys[0]) for line in batch]
