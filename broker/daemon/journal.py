"""The log under systemd: entries with fields instead of lines, so that an operator finds what happened without reading sentences.

``journalctl MESSAGE_ID=...`` or ``ZEROTRUST_CODE=redis_down`` finds a happening, ``ZEROTRUST_REQUEST_ID=...`` what was said of a
request (the records' sink, where there is one, has the same field), ``journalctl -x`` explains and says what to do. Wherever the
broker's standard error is not the journal, lines go there as before.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import syslog
from collections.abc import Iterator, Mapping
from pathlib import Path

from broker.core.happening import Happening
from broker.core.journal_entry import SOCKET, field

_PRIORITIES = (
    (logging.CRITICAL, syslog.LOG_CRIT),
    (logging.ERROR, syslog.LOG_ERR),
    (logging.WARNING, syslog.LOG_WARNING),
    (logging.INFO, syslog.LOG_INFO),
)
# Bytes. A datagram takes some 200 KiB; no trace of ours is half as long as this.
_MESSAGE_MAX = 48 * 1024
_STANDARD_ERROR = 2
_LINE = "%(levelname)s %(message)s"


def handler(environ: Mapping[str, str], *, journal: Path = SOCKET) -> logging.Handler:
    """What the log is written with: the journal where systemd.exec(5) says that standard error leads there."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(logging.Formatter(_LINE))
    here = os.fstat(_STANDARD_ERROR)
    if environ.get("JOURNAL_STREAM") != f"{here.st_dev}:{here.st_ino}":
        return lines
    return _Journal(journal, otherwise=lines)


class _Journal(logging.Handler):
    """Never waits: what journald does not take at once goes to ``otherwise``."""

    def __init__(self, path: Path, *, otherwise: logging.Handler) -> None:
        super().__init__()
        # The level is a field of its own.
        self.setFormatter(logging.Formatter("%(message)s"))
        self._path = str(path)
        self._otherwise = otherwise
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        entry = b"".join(
            field(name, value.encode("utf-8", "replace")) for name, value in _fields(self.format(record), record)
        )
        try:
            # By its name each time, so that a journald that began anew is found.
            self._socket.sendto(entry, self._path)
        except OSError:
            self._otherwise.handle(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _fields(text: str, record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    yield "MESSAGE", text.encode("utf-8", "replace")[:_MESSAGE_MAX].decode("utf-8", "ignore")
    yield "PRIORITY", str(next((number for level, number in _PRIORITIES if record.levelno >= level), syslog.LOG_DEBUG))
    yield "SYSLOG_IDENTIFIER", "zerotrust-broker"
    yield "CODE_FILE", record.pathname
    yield "CODE_LINE", str(record.lineno)
    yield "CODE_FUNC", record.funcName
    yield "ZEROTRUST_LOGGER", record.name
    happening = getattr(record, "happening", None)
    if isinstance(happening, Happening):
        yield "MESSAGE_ID", happening.value
        yield "ZEROTRUST_CODE", happening.code
    if request_id := getattr(record, "request_id", None):
        yield "ZEROTRUST_REQUEST_ID", str(request_id)
