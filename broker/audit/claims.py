"""What is said of an instance's log elsewhere than in its records: its checkpoints, and what its neighbours recorded of them.

A claim says how many records there were and which. Each source makes its claims in the order in which the log grew, so that
they are held against the records in one pass and never lie in the memory together.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from broker.audit.backing import Backing
from broker.audit.chain import BrokenRecord, Head
from broker.audit.checkpoint import is_cut_short, open_checkpoint, root_text
from broker.audit.event import Kind
from broker.audit.old_checkpoint import open_old_checkpoint
from broker.audit.reading import lines, notes
from broker.audit.tree import Frontier
from broker.keys.signing import KeySet

# The beginning of a compact JWS with an Ed25519 signature, which is 86 characters long: what a kill leaves of one.
_TORN_JWS = re.compile(rb"[\w-]*(\.[\w-]*(\.[\w-]{0,86})?)?", re.ASCII)
_CHECKPOINT = "a checkpoint"
_NEIGHBOUR = f'"event":"{Kind.NEIGHBOUR}"'.encode()

# The ways by which a neighbour's checkpoint comes: it lies in the same directory, or Redis brings it from another host.
VIA_DIRECTORY, VIA_REDIS = "directory", "redis"

# Told where something is said, and what is wrong with it.
OnFault = Callable[[Path, str], None]


@dataclass(frozen=True, slots=True)
class Claim:
    """``by`` is who says so, as a sentence begins. The rest is what the log of ``size`` records was; None is not said."""

    by: str
    path: Path
    size: int
    digest: str | None = None
    root: str | None = None

    def holds(self, head: Head, tree: Frontier) -> bool:
        """Whether that is so of a log that ends here."""
        return self.digest in (None, head.digest) and (self.root is None or self.root == root_text(tree))


class Claims:
    """Claims on the way along a log: each is held against it where it has the size of which the claim speaks."""

    def __init__(self, claims: Iterator[Claim]) -> None:
        """Take them by their size."""
        self._rest = claims
        self._next = next(claims, None)
        self.checkpoints = 0

    def hold(self, head: Head, tree: Frontier) -> None:
        """Check those that speak of the log as it ends here.

        Raises:
            BrokenRecord: One of them saw another log.
        """
        while self._next is not None and self._next.size <= tree.size:
            claim = self._pop(self._next)
            if not claim.holds(head, tree):
                raise BrokenRecord(f"not the record that {claim.by} saw here")

    def require_no_more(self) -> None:
        """Check that none speaks of more records than there are.

        Raises:
            BrokenRecord: One does.
        """
        if last := self.drain():
            raise BrokenRecord(f"{last.by} says that {last.size} records were written: the rest is missing")

    def drain(self) -> Claim | None:
        """Look at what is left for its own sake; the last of it."""
        last = None
        while self._next is not None:
            last = self._pop(self._next)
        return last

    def _pop(self, claim: Claim) -> Claim:
        self._next = next(self._rest, None)
        self.checkpoints += claim.by == _CHECKPOINT
        return claim


def all_claims(
    instance: str,
    *,
    statements: Iterable[Path],
    records: Iterable[Path],
    elsewhere: Iterable[Claim],
    keys: KeySet,
    backing: Backing,
    on_fault: OnFault,
    note: OnFault,
) -> Iterator[Claim]:
    """Everything that is said of an instance by now, by the number of records it speaks of.

    What comes while the log is read may speak of records behind the end that was read.

    Args:
        instance: Of whom.
        statements: Its own checkpoints, notes and JWS.
        records: Its neighbours' records. What they say is taken at its word: each is verified where its own turn comes.
        elsewhere: What checkpoints say that were kept elsewhere.
        keys: Those that checkpoints are signed with.
        backing: Shown each of the notes.
        on_fault: Told of what is damaged or goes back in checkpoints; of each file the first.
        note: Told of what cannot be checked.
    """
    sources = [
        _rising(_own(path, path.stat().st_size, instance, keys, backing, on_fault=on_fault), on_fault)
        for path in statements
    ]
    sources += [_rising(_neighbours(path, path.stat().st_size, instance), note) for path in records]
    sources.append(iter(sorted(elsewhere, key=lambda claim: claim.size)))
    return heapq.merge(*sources, key=lambda claim: claim.size)


def neighbour_in(record: Any) -> tuple[str, int, str, str] | None:
    """Instance, size, root and way of the checkpoint that a record repeats; none where it repeats none."""
    said = record.get("neighbour") if isinstance(record, dict) and record.get("event") == Kind.NEIGHBOUR else None
    match said:
        case {"instance": str(instance), "size": int(size), "root": str(root), "via": str(via)}:
            return instance, size, root, via
    return None


def _rising(claims: Iterator[Claim], on_fault: OnFault) -> Iterator[Claim]:
    reached, faulty = 0, False
    for claim in claims:
        if claim.size >= reached:
            reached = claim.size
            yield claim
        elif not faulty:
            faulty = True
            on_fault(claim.path, f"{claim.by} goes back from {reached} records to {claim.size}")


def _own(path: Path, end: int, instance: str, keys: KeySet, backing: Backing, *, on_fault: OnFault) -> Iterator[Claim]:
    read = _old(path, end, instance, keys) if path.suffix == ".jws" else _stated(path, end, instance, keys, backing)
    faulty = False
    for number, found in enumerate(read, start=1):
        if isinstance(found, Claim):
            yield found
        elif not faulty:
            faulty = True
            on_fault(path, f"checkpoint {number}: {found}")


def _stated(path: Path, end: int, instance: str, keys: KeySet, backing: Backing) -> Iterator[Claim | BrokenRecord]:
    for data, whole in notes(path, end=end):
        try:
            note = data.decode("utf-8", "replace")
            found = open_checkpoint(note, keys=keys)
            _require(found.instance, instance)
            backing.see(note, size=found.size)
            yield Claim(_CHECKPOINT, path, found.size, found.head.digest, found.root)
        except BrokenRecord as error:
            if whole or not is_cut_short(data, instance=instance):
                yield error


def _old(path: Path, end: int, instance: str, keys: KeySet) -> Iterator[Claim | BrokenRecord]:
    for line in lines(path, end=end):
        try:
            position = open_old_checkpoint(line.removesuffix(b"\n").decode("ascii", "replace"), keys=keys)
            _require(position.instance, instance)
            yield Claim(_CHECKPOINT, path, position.head.seq, position.head.digest)
        except BrokenRecord as error:
            if line.endswith(b"\n") or not _TORN_JWS.fullmatch(line):
                yield error


def _neighbours(path: Path, end: int, instance: str) -> Iterator[Claim]:
    for line in lines(path, end=end):
        if _NEIGHBOUR in line:
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            said = neighbour_in(record)
            if said and said[0] == instance:
                by = f"record {record.get('seq')} of {record.get('instance')}"
                yield Claim(by, path, said[1], root=said[2])


def _require(found: str, instance: str) -> None:
    if found != instance:
        raise BrokenRecord(f"a checkpoint of another instance, {found!r}")
