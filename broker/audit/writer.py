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

from broker.audit.chain import BrokenRecord, Head, Position, link, open_checkpoint, seal_checkpoint
from broker.audit.event import Event, Kind
from broker.audit.sinks.file import NotOurs, RecordFile
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
        self._head = Head()
        self._checkpointed = Head()
        # What is missing of the file, in a sentence, once that was noticed; whoever raises the alarm takes it away.
        self.cut: str | None = None

    def commit(self, records: Sequence[Members]) -> list[Position]:
        """Write all records as one append, durable on return; says where each of them is.

        Raises:
            OSError: None of them is in the file.
        """
        file = self._current_file()
        recovery = [self._recovery(file.torn)] if file.torn else []
        lines, positions, head = [], [], self._head
        for members in (*recovery, *records):
            line, head = link(head, {**members, "instance": file.instance}, signer=self._signer)
            lines.append(line + b"\n")
            positions.append(Position(instance=file.instance, head=head))
        file.append(b"".join(lines))
        self._head = head
        return positions[len(recovery) :]

    def checkpoint(self) -> datetime | None:
        """State where the chain stands, if it moved since the last time; return when.

        Raises:
            OSError: The statement is not on the disk.
        """
        if self._file is None or self._head == self._checkpointed:
            return None
        now = self._state(self._file)
        self._checkpointed = self._head
        return now

    def close(self) -> None:
        """State where the chain stands and let the file go.

        Raises:
            OSError: As for ``checkpoint``; the file is let go all the same.
        """
        try:
            self.checkpoint()
        finally:
            self._release()

    def _current_file(self) -> RecordFile:
        if self._file is not None and not self._file.is_as_we_left_it():
            _log.warning("audit: %s was moved, replaced or changed by somebody else; opening it anew", self._file.path)
            self._release()
        if self._file is None:
            file = RecordFile.claim(self._directory)
            try:
                self._head = self._resume(file)
                # So that records never lie there without a checkpoint, and one without shows that it was taken away.
                if not file.last_checkpoint():
                    self._state(file)
            except OSError:
                file.close()
                raise
            self._file = file
        return self._file

    def _state(self, file: RecordFile) -> datetime:
        now = self._clock.now()
        position = Position(instance=file.instance, head=self._head)
        file.append_checkpoint(seal_checkpoint(position, timestamp=rfc3339(now), signer=self._signer))
        return now

    def _resume(self, file: RecordFile) -> Head:
        """Where the chain goes on: behind the furthest record that is known to have been written."""
        reached = self._head if self._head.seq else self._reached_before(file)
        if file.head.seq < reached.seq:
            if file.head.seq:
                self.cut = (
                    f"{file.path.name} ends at record {file.head.seq}, but {reached.seq} were written: it was cut."
                )
                _log.error("audit: %s Run `zerotrust-admin audit verify`", self.cut)
            return reached
        if self._head.seq and file.head != self._head:
            text = "holds records that this process did not write; move the file away"
            raise NotOurs(errno.ESTALE, text, str(file.path))
        return file.head

    def _reached_before(self, file: RecordFile) -> Head:
        """How far this instance's chain is known to have come: its rotated files say it, and its last checkpoint."""
        heads = file.rotated_heads()
        # There may be none yet, or one that another key signed: `audit verify` is the judge of that.
        with contextlib.suppress(BrokenRecord):
            heads.append(open_checkpoint(file.last_checkpoint(), keys=self._keys).head)
        return max(heads, key=lambda head: head.seq, default=Head())

    def _recovery(self, torn: bytes) -> Members:
        """A record that a kill cut short never became durable, so nothing was handed out on it; its bytes are kept."""
        event = Event(
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
        return event.members()

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
