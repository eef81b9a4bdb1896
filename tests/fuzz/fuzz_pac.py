"""The PAC readers: nothing but `MalformedPac` leaves them, and what they return is of the promised form.

The frozen logon and delegation information of tests/vectors/pac is where it starts from.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from broker.authn import pac

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).parents[1] / "vectors" / "pac"
HEADERS = 16  # bytes; the length of the object is at 8

SID = re.compile(r"S-1-(\d+|0x[0-9A-F]{12})(-\d+)*")
GROUPS_MAX = 4_096 + 1  # the limit, and the primary group
SERVICES_MAX, NAME_MAX = 16, 256


def seeds() -> Iterator[bytes]:
    for path in sorted(VECTORS.glob("*.ndr")):
        yield path.read_bytes()


def one_input(data: bytes) -> None:
    judge(data)
    # With a header that fits, the fuzzer gets past the first check however long its invention is.
    if len(data) >= HEADERS:
        judge(data[:8] + struct.pack("<I", len(data) - HEADERS) + data[12:])


def judge(value: bytes) -> None:
    judge_delegation(value)
    judge_logon(value)


def judge_delegation(delegation_info: bytes) -> None:
    try:
        services = pac.transited(delegation_info)
    except pac.MalformedPac:
        return
    assert len(services) <= SERVICES_MAX
    assert all(name.isprintable() and 0 < len(name) <= NAME_MAX for name in services)


def judge_logon(logon_info: bytes) -> None:
    try:
        found = pac.groups(logon_info)
    except pac.MalformedPac:
        return
    for sid in (found.domain_sid, found.user_sid, *found.groups):
        assert SID.fullmatch(sid), sid
    assert len(found.groups) <= GROUPS_MAX
    assert pac.groups(logon_info) == found
