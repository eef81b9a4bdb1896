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
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from broker.audit.chain import BrokenRecord, Head, Position, link
from broker.audit.checkpoint import Checkpoint, open_checkpoint, origin_of, root_text, seal_checkpoint
from broker.audit.event import Event, Kind
from broker.audit.note import Ed25519NoteSigner
from broker.audit.regrow import regrown
from broker.audit.sinks.durable import NotOurs
from broker.audit.sinks.file import RecordFile, head_of
from broker.audit.sinks.notes import append_note, last_notes, notes_path
from broker.audit.tree import Frontier, leaf_hash
from broker.core.clock import Clock, rfc3339
from broker.keys.signing import Ed25519Signer, KeySet

# Of what a crash left behind this much is kept word for word; its length and hash are kept whatever it is.
_TORN_KEPT = 4096

_log = logging.getLogger(__name__)

# What `Event.members()` makes.
Members: TypeAlias = Mapping[str, Any]


class Writer:
    """Opens the file on first use and again after it was lost, so a directory that comes back is used again."""

    def __init__(self, *, directory: Path, signer: Ed25519Signer, clock: Clock) -> None:
        self._directory = directory
        self._signer = signer
        self._clock = clock
        self._keys = KeySet(jwks={"keys": [signer.jwk()]})
        self._file: RecordFile | None = None
        self._instance: str | None = None
        self._head = Head()
        self._tree = Frontier()
        self._checkpointed = Head()
        # Whether more than neighbours' checkpoints was recorded since the last checkpoint.
        self._busy = True
        # What the first record of a segment says, until it is written.
        self._opening: Event | None = None
        # What is missing of the file, in a sentence, once that was noticed; whoever raises the alarm takes it away.
        self.cut: str | None = None

    def commit(self, records: Sequence[Members]) -> list[Position]:
        """Write all records as one append, durable on return; says where each of them is.

        Raises:
            OSError: None of them is in the file.
        """
        file = self._current_file()
        notes = [self._opening] if self._opening else []
        notes += [self._recovery(file.torn)] if file.torn else []
        lines, positions, head, tree = [], [], self._head, self._tree
        for members in (*(note.members() for note in notes), *records):
            line, head = link(head, {**members, "instance": file.instance}, signer=self._signer)
            tree = tree.with_leaf(leaf_hash(line))
            lines.append(line + b"\n")
            positions.append(Position(instance=file.instance, head=head))
        file.append(b"".join(lines))
        self._head, self._tree, self._opening = head, tree, None
        self._busy |= any(members.get("event") != Kind.NEIGHBOUR for members in records)
        return positions[len(notes) :]

    def checkpoint(self) -> datetime | None:
        """State where the log stands, if it moved since the last time, and return when; begin a new segment if one is due.

        Raises:
            OSError: The statement is not on the disk.
        """
        now = self._checkpoint()
        if now is not None and self._file is not None and self._file.is_due(now):
            self._begin_segment(self._file)
        return now

    def close(self) -> None:
        """State where the chain stands and let the file go.

        Raises:
            OSError: As for ``checkpoint``; the file is let go all the same.
        """
        try:
            self._checkpoint()
        finally:
            self._release()

    def _checkpoint(self) -> datetime | None:
        if self._file is None or self._head == self._checkpointed:
            return None
        now = self._state(self._file)
        self._checkpointed = self._head
        return now

    def _current_file(self) -> RecordFile:
        if self._file is not None and not self._file.is_as_we_left_it():
            _log.warning("audit: %s was moved, replaced or changed by somebody else; opening it anew", self._file.path)
            self._release()
        if self._file is None:
            file = RecordFile.claim(self._directory)
            try:
                self._resume(file)
                # So that records never lie there without a checkpoint, and one without shows that it was taken away.
                if not last_notes(notes_path(self._directory, file.instance)):
                    self._state(file)
            except OSError:
                file.close()
                raise
            self._file = file
        return self._file

    def _state(self, file: RecordFile) -> datetime:
        now = self._clock.now()
        checkpoint = Checkpoint(
            instance=file.instance, head=self._head, tree=self._tree, timestamp=rfc3339(now), quiet=not self._busy
        )
        signers = [Ed25519NoteSigner(name=origin_of(file.instance), signer=self._signer)]
        append_note(notes_path(self._directory, file.instance), seal_checkpoint(checkpoint, signers=signers))
        self._busy = False
        return now

    def _begin_segment(self, file: RecordFile) -> None:
        """Where it fails, records go on into the file that is there, and the next checkpoint tries again."""
        try:
            self._file = file.begin_segment()
        except OSError as error:
            _log.warning("audit: %s goes on, no new file could be begun: %s", file.path, error)
            return
        file.close()
        self._opening = self._segment(self._file)

    def _resume(self, file: RecordFile) -> None:
        """Go on behind the furthest record that is known to have been written."""
        if file.instance != self._instance:
            # The slot that this process had is another's now.
            self._instance, self._head, self._tree = file.instance, Head(), Frontier()
        running = self._head.seq > 0
        behind = [] if running else file.heads_behind()
        stated = None if running else self._stated(file.instance)
        known = [self._head, *behind, *([stated.head] if stated else [])]
        reached = max(known, key=lambda head: head.seq)
        if 0 < file.head.seq < reached.seq:
            self.cut = f"{file.path.name} ends at record {file.head.seq}, but {reached.seq} were written: it was cut."
            _log.error("audit: %s Run `zerotrust-admin audit verify`", self.cut)
        if running and file.head.seq >= reached.seq and file.head != reached:
            text = "holds records that this process did not write; move the file away"
            raise NotOurs(errno.ESTALE, text, str(file.path))
        if not running:
            self._head = max(file.head, reached, key=lambda head: head.seq)
            tree = stated.tree if stated else Frontier()
            self._tree = regrown(tree, [*file.behind(), file.path], size=self._head.seq)
        self._opening = self._segment(file) if file.head.seq == 0 else None

    def _stated(self, instance: str) -> Checkpoint | None:
        """The last checkpoint, where there is one that our key signed; of others `audit verify` is the judge."""
        for note in last_notes(notes_path(self._directory, instance))[-1:]:
            with contextlib.suppress(BrokenRecord):
                return open_checkpoint(note, keys=self._keys)
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
