"""systemd-journald, by its native protocol: a datagram an entry, its fields searchable (`journalctl ZEROTRUST_USER=...`).

The protocol is documented at https://systemd.io/JOURNAL_NATIVE_PROTOCOL/, the fields in systemd.journal-fields(7).
An entry counts as taken when it is in the socket's queue. systemd holds the socket, so a restart of journald loses none.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from broker.audit.sinks.parcel import Parcel, SinkDown
from broker.core.journal_entry import field
from broker.core.workers import Workers

IDENTIFIER = "zerotrust-broker"
# One for all records of ours: `journalctl MESSAGE_ID=...`. Made once with systemd-id128(1), as journald's catalog wants.
MESSAGE_ID = "6a1f0c8b7d5e4f3aa2c49be07d31f588"
# A queue that stays full this long belongs to a journald that hangs.
_SECONDS = 5.0
# Members that have a field of their own; lists and objects are in ZEROTRUST_RECORD.
_FIELDS = (
    "instance", "seq", "event", "success", "reason", "user", "action", "resource", "role", "account", "access_key_id",
    "source_ip", "request_id", "session_name", "expiration", "severity",
)  # fmt: skip
_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Journald:
    """One socket, connected when first needed and again after journald went."""

    settles_after = 0.0

    def __init__(self, *, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._worker = Workers(name="journald", number=1)

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """See ``Sink``."""
        await self._worker.do(lambda: self._send(parcels))

    async def close(self) -> None:
        """See ``Sink``."""
        await self._worker.do(self._let_go)
        self._worker.stop()

    def _send(self, parcels: Sequence[Parcel]) -> None:
        try:
            if self._socket is None:
                self._socket = _connected(self._path)
            for parcel in parcels:
                _deliver(self._socket, entry(parcel))
        except OSError as error:
            self._let_go()
            # A timeout has no number.
            why = os.strerror(error.errno) if error.errno else f"its queue is full for {_SECONDS:.0f} seconds"
            raise SinkDown(f"journald does not take records: {why}") from error

    def _let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def entry(parcel: Parcel) -> bytes:
    """A record in the protocol's form."""
    return b"".join(field(name, value) for name, value in _fields(parcel))


def _fields(parcel: Parcel) -> Iterator[tuple[str, bytes]]:
    yield "MESSAGE", parcel.sentence.encode()
    yield "MESSAGE_ID", MESSAGE_ID.encode()
    yield "PRIORITY", str(parcel.severity).encode()
    yield "SYSLOG_IDENTIFIER", IDENTIFIER.encode()
    for name in _FIELDS:
        value = parcel.members.get(name)
        if value is not None:
            # As JSON has it: true, not True.
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield f"ZEROTRUST_{name.upper()}", text.encode()
    yield "ZEROTRUST_RECORD", parcel.payload


def _connected(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        made.settimeout(_SECONDS)
        made.connect(str(path))
    except OSError:
        made.close()
        raise
    return made


def _deliver(journal: socket.socket, data: bytes) -> None:
    try:
        journal.send(data)
    except OSError as error:
        if error.errno not in _TOO_LARGE:
            raise
        _deliver_in_memory(journal, data)


def _deliver_in_memory(journal: socket.socket, data: bytes) -> None:
    """What is too long for a datagram goes as a sealed file in memory: nobody can change it while journald reads."""
    descriptor = os.memfd_create("zerotrust-audit", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        journal.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
    finally:
        os.close(descriptor)
