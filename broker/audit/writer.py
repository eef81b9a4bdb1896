"""Turns events into chained lines on the disk. Runs on one thread, the only owner of file and chain.

The chain outlives its files: where a file was rotated away, emptied, cut or deleted, the next record still follows the last
one that is known, so that `audit verify` names the first record that is missing, or finds the chain whole in the
rotated file and its successor.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from broker.audit.chain import BrokenRecord, Head, Position, link
from broker.audit.checkpoint import (
    Checkpoint,
    open_checkpoint,
    origin_of,
    read_checkpoint,
    root_text,
    seal_checkpoint,
)
from broker.audit.event import Event, Kind
from broker.audit.note import Ed25519NoteSigner
from broker.audit.regrow import regrown
from broker.audit.signer import jwks_of
from broker.audit.sinks.durable import NotOurs
from broker.audit.sinks.file import RecordFile, head_of
from broker.audit.sinks.notes import append_note, last_notes, notes_path
from broker.audit.succession import changed_uncertified, ends_forged, heir_at, succeeded
from broker.audit.tree import Frontier, leaf_hash
from broker.core.clock import Clock, rfc3339
from broker.core.happening import Happening
from broker.keys.signing import Ed25519Signer, KeySet

# Of what a crash left behind this much is kept word for word; its length and hash are kept whatever it is.
_TORN_KEPT = 4096

_log = logging.getLogger(__name__)

# What `Event.members()` makes.
Members: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """A checkpoint on its way to the disk: a note, to which signature lines may be added; what it states, and when.

    ``own`` is how many of this process's records are more than neighbours' checkpoints; ``is_news`` where the log moved since the
    checkpoint before.
    """

    note: str
    checkpoint: Checkpoint
    moment: datetime
    own: int
    is_news: bool

    def with_line(self, line: str) -> Draft:
        """The same with one more signature line."""
        return Draft(self.note + line, self.checkpoint, self.moment, self.own, is_news=self.is_news)


class Writer:
    """Opens the file on first use and again after it was lost, so a directory that comes back is used again."""

    def __init__(
        self, *, directory: Path, signer: Ed25519Signer, former: Sequence[Ed25519Signer] = (), clock: Clock
    ) -> None:
        self._directory = directory
        self._signer = signer
        self._signers = {each.kid: each for each in (signer, *former)}
        # Whose turn it is to sign, by its kid: not ours until the one before has named us. None before the first record.
        self._in_charge: str | None = None
        self._clock = clock
        self._file: RecordFile | None = None
        # Whose slot this process has, once it has one, and on which file system (st_dev).
        self.instance: str | None = None
        self._disk: int | None = None
        self._head = Head()
        self._tree = Frontier()
        self._checkpointed = Head()
        # Records that are more than neighbours' checkpoints: so many, and so many as the last checkpoint covers.
        self._own = 0
        self._own_stated = -1
        # What the first record of a segment says, until it is written.
        self._opening: Event | None = None
        # What is missing of the file, in a sentence, once that was noticed; whoever raises the alarm takes it away.
        self.cut: str | None = None
        # The same of a key that signed so far, and is not there to certify the one that signs now.
        self.uncertified: str | None = None

    def commit(self, records: Sequence[Members]) -> list[Position]:
        """Write all records as one append, durable on return; says where each of them is.

        Raises:
            OSError: None of them is in the file.
        """
        file = self._current_file()
        notes = self._notes(file)
        lines, positions, head, tree = [], [], self._head, self._tree
        for signer, members in (*notes, *((self._signer, members) for members in records)):
            line, head = link(head, {**members, "instance": file.instance}, signer=signer)
            tree = tree.with_leaf(leaf_hash(line))
            lines.append(line + b"\n")
            positions.append(Position(instance=file.instance, head=head))
        file.append(b"".join(lines))
        self._head, self._tree, self._opening, self._in_charge = head, tree, None, self._signer.kid
        self._own += sum(members.get("event") != Kind.NEIGHBOUR for members in records)
        return positions[len(notes) :]

    def draft(self, *, again: bool = False) -> Draft | None:
        """The checkpoint of where the log stands, if it moved since the last one, or ``again`` if it did not.

        Nothing is stated before it is published.
        """
        if self._file is None or (self._head == self._checkpointed and not again):
            return None
        return self._drafted(self._file)

    def publish(self, draft: Draft) -> None:
        """Put a checkpoint beside the records; begin a new segment if one is due.

        Raises:
            OSError: The statement is not on the disk.
        """
        self._put(draft)
        if self._file is not None and self._file.is_due(draft.moment):
            self._begin_segment(self._file)

    def add_cosigned(self, note: str) -> None:
        """Put a checkpoint with more signatures beside the records, unless a later one is there.

        Raises:
            OSError: It is not on the disk.
        """
        checkpoint = read_checkpoint(note)
        if self._file is not None and checkpoint.head == self._checkpointed:
            append_note(notes_path(self._directory, checkpoint.instance), note)

    def close(self) -> None:
        """State where the chain stands and let the file go.

        Raises:
            OSError: As for ``checkpoint``; the file is let go all the same.
        """
        try:
            if draft := self.draft():
                self._put(draft)
        finally:
            self._release()

    def _current_file(self) -> RecordFile:
        if self._file is not None and not self._file.is_as_we_left_it():
            _log.warning(
                "audit: %s was moved, replaced or changed by somebody else; opening it anew",
                self._file.path,
                extra=Happening.AUDIT_FILE_MOVED.said(),
            )
            self._release()
        if self._file is None:
            self._require_our_disk()
            file = RecordFile.claim(self._directory)
            try:
                self._resume(file)
                # So that records never lie there without a checkpoint, and one without shows that it was taken away.
                if not last_notes(notes_path(self._directory, file.instance)):
                    self._put(self._drafted(file))
            except OSError:
                file.close()
                raise
            self._file, self._disk = file, file.disk
        return self._file

    def _require_our_disk(self) -> None:
        """Where the disk with the records is not mounted any more, what we wrote would be hidden by it when it comes back."""
        there = next(path for path in (self._directory, *self._directory.parents) if path.exists())
        if self._disk in (None, there.stat().st_dev):
            return
        # A file system may come back under another number.
        if head_of(self._directory / f"audit-{self.instance}.jsonl", str(self.instance)).seq < self._head.seq:
            text = "is not the disk that the records are on: mount that one there, or restart the broker to begin anew"
            raise NotOurs(errno.ENODEV, text, str(self._directory))

    def _drafted(self, file: RecordFile) -> Draft:
        now = self._clock.now()
        checkpoint = Checkpoint(
            instance=file.instance,
            head=self._head,
            tree=self._tree,
            timestamp=rfc3339(now),
            quiet=self._own == self._own_stated,
        )
        # Where the key is about to change, the old one still vouches for what it signed.
        signer = self._signers.get(str(self._in_charge), self._signer)
        signers = [Ed25519NoteSigner(name=origin_of(file.instance), signer=signer)]
        is_news = self._head != self._checkpointed
        return Draft(seal_checkpoint(checkpoint, signers=signers), checkpoint, now, self._own, is_news=is_news)

    def _put(self, draft: Draft) -> None:
        append_note(notes_path(self._directory, draft.checkpoint.instance), draft.note)
        self._checkpointed = draft.checkpoint.head
        self._own_stated = draft.own

    def _begin_segment(self, file: RecordFile) -> None:
        """Where it fails, records go on into the file that is there, and the next checkpoint tries again."""
        try:
            self._file = file.begin_segment()
        except OSError as error:
            _log.warning("audit: %s goes on, no new file could be begun: %s", file.path, error)
            return
        file.close()
        self._opening = self._segment(self._file)

    def _notes(self, file: RecordFile) -> list[tuple[Ed25519Signer, Members]]:
        """What has to be recorded before anything else, and by which key."""
        opening = [self._opening] if self._opening else []
        recovery = [self._recovery(file.torn)] if file.torn else []
        if self._in_charge in (None, self._signer.kid):
            return [(self._signer, event.members()) for event in (*opening, *recovery)]
        before = self._signers.get(str(self._in_charge))
        if before is None:
            _log.warning(
                "audit: the key %s, which signed so far, is not configured: its successor has no certificate",
                self._in_charge,
            )
            self.uncertified = (
                f"The key {self._in_charge} did not certify {self._signer.kid}, which signs in its place."
            )
            # What is said of the segment before has to be the first record behind it, and the key that could say it is gone.
            change = changed_uncertified(str(self._in_charge), timestamp=self._clock.now())
            return [(self._signer, event.members()) for event in (change, *recovery)]
        change = succeeded(self._signer.jwk(), timestamp=self._clock.now())
        return [
            *((before, event.members()) for event in (*opening, change)),
            *((self._signer, event.members()) for event in recovery),
        ]

    def _resume(self, file: RecordFile) -> None:
        """Go on behind the furthest record that is known to have been written."""
        if file.instance != self.instance:
            # The slot that this process had is another's now.
            self.instance, self._head, self._tree = file.instance, Head(), Frontier()
        running = self._head.seq > 0
        jwks = jwks_of(*self._signers.values())
        if not running and ends_forged(file.path, jwks=jwks):
            text = "its last record is not signed by the key that it names; run `zerotrust-admin audit verify`, then move it away"
            raise NotOurs(errno.EINVAL, text, str(file.path))
        ends = [] if running else [path for path in file.ends_behind() if not ends_forged(path, jwks=jwks)]
        behind = [head_of(path, file.instance) for path in ends]
        stated = None if running else self._stated(file.instance)
        known = [self._head, *behind, *([stated[0].head] if stated else [])]
        reached = max(known, key=lambda head: head.seq)
        if 0 < file.head.seq < reached.seq:
            self.cut = f"{file.path.name} ends at record {file.head.seq}, but {reached.seq} were written: it was cut."
            _log.error("audit: %s Run `zerotrust-admin audit verify`", self.cut, extra=Happening.AUDIT_CUT.said())
        if running and file.head.seq >= reached.seq and file.head != reached:
            text = "holds records that this process did not write; move the file away"
            raise NotOurs(errno.ESTALE, text, str(file.path))
        if not running:
            self._head = max(file.head, reached, key=lambda head: head.seq)
            tree = stated[0].tree if stated else Frontier()
            self._tree = regrown(tree, [*file.behind(), file.path], size=self._head.seq)
            self._in_charge = heir_at(self._head, [file.path, *file.behind()]) or (stated[1] if stated else None)
        self._opening = self._segment(file) if file.head.seq == 0 else None

    def _stated(self, instance: str) -> tuple[Checkpoint, str] | None:
        """The last checkpoint and the kid of its key, where there is one of ours; of others `audit verify` is the judge."""
        for note in last_notes(notes_path(self._directory, instance))[-1:]:
            for kid, signer in self._signers.items():
                with contextlib.suppress(BrokenRecord):
                    return open_checkpoint(note, keys=KeySet(jwks={"keys": [signer.jwk()]})), kid
        return None

    def _segment(self, file: RecordFile) -> Event | None:
        """What the first record of a new file says of the segment that was closed before it."""
        closed = file.last_segment()
        if closed is None or head_of(closed, file.instance) != self._head:
            return None
        return Event(
            action="begin_segment",
            resource="audit",
            kind=Kind.SEGMENT,
            success=True,
            reason=None,
            timestamp=self._clock.now(),
            details={
                "segment": {
                    "file": closed.name,
                    "bytes": closed.stat().st_size,
                    "records": self._tree.size,
                    "root": root_text(self._tree),
                }
            },
        )

    def _recovery(self, torn: bytes) -> Event:
        """A record that a kill cut short never became durable, so nothing was handed out on it; its bytes are kept."""
        return Event(
            action="recover",
            resource="audit",
            kind=Kind.RECOVERY,
            success=True,
            reason="torn_tail",
            timestamp=self._clock.now(),
            details={
                "torn_bytes": len(torn),
                "torn_sha256": hashlib.sha256(torn).hexdigest(),
                "torn": base64.b64encode(torn[:_TORN_KEPT]).decode(),
            },
        )

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
