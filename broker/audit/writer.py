"""Turns events into chained lines on the disk. Runs on one thread, the only owner of file and chain."""

from __future__ import annotations

import base64
import errno
import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from broker.audit.chain import Head, Position, link, seal_checkpoint
from broker.audit.event import Event, Kind
from broker.audit.sinks.file import NotOurs, RecordFile
from broker.core.clock import Clock, rfc3339
from broker.keys.signing import Ed25519Signer


class Writer:
    """Opens the file on first use and again after it was lost, so a directory that comes back is used again."""

    def __init__(self, *, directory: Path, signer: Ed25519Signer, clock: Clock) -> None:
        self._directory = directory
        self._signer = signer
        self._clock = clock
        self._file: RecordFile | None = None
        self._head = Head()
        self._checkpointed = Head()

    def commit(self, events: Sequence[Event]) -> None:
        """Write all events as one append, durable on return.

        Raises:
            OSError: None of them is in the file.
        """
        file = self._file or self._claim()
        lines, head = [], self._head
        for event in events:
            line, head = link(head, event.members(instance=file.instance), signer=self._signer)
            lines.append(line + b"\n")
        try:
            file.append(b"".join(lines))
        except (NotOurs, FileNotFoundError):
            self._release()
            raise
        self._head = head

    def checkpoint(self) -> datetime | None:
        """State where the chain stands, if it moved since the last time; return when."""
        if self._file is None or self._head == self._checkpointed:
            return None
        now = self._clock.now()
        position = Position(instance=self._file.instance, head=self._head)
        self._file.append_checkpoint(seal_checkpoint(position, timestamp=rfc3339(now), signer=self._signer))
        self._checkpointed = self._head
        return now

    def close(self) -> None:
        """State where the chain stands and let the file go."""
        self.checkpoint()
        self._release()

    def _claim(self) -> RecordFile:
        file = RecordFile.claim(self._directory)
        # A file that came in the place of one we had must continue our chain, or be empty and start behind it.
        if self._head.seq and file.head not in (self._head, Head()):
            file.close()
            raise NotOurs(errno.ESTALE, "the file does not continue this instance's chain", str(file.path))
        if not self._head.seq:
            self._head = file.head
        self._file = file
        if file.torn:
            self.commit([self._recovery(file.torn)])
            file.torn = b""
        return file

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
                "torn": base64.b64encode(torn).decode(),
            },
        )

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
