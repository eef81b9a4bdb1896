"""systemd-journald's native protocol: a datagram an entry, of fields. https://systemd.io/JOURNAL_NATIVE_PROTOCOL/."""

from __future__ import annotations

import struct
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")


def field(name: str, value: bytes) -> bytes:
    """``NAME=value`` or, where a line feed in the value would begin a field of somebody's choice, with its length."""
    if b"\n" in value:
        return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
