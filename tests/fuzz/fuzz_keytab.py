"""The keytab reader: whatever a file holds, `UnusableKeytab` or keys; and a file that cannot be used changes nothing."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from gssapi import raw

from broker.authn.keytab import AcceptorKeys, Key, UnusableKeytab, read
from broker.core.errors import ConfigurationError
from tests.fuzz import scratch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VERSION = b"\x05\x02"
REALM = "EXAMPLE.COM"
AES = 18
RC4 = 23

FILE = scratch.folder() / "http.keytab"


def entry(components: Iterable[str], *, realm: str = REALM, kvno: int = 2, enctype: int = AES) -> bytes:
    """MIT krb5, "Keytab file format"."""
    names = [realm.encode(), *(component.encode() for component in components)]
    counted = b"".join(struct.pack(">H", len(name)) + name for name in names)
    key = struct.pack(">BHH", kvno & 0xFF, enctype, 32) + bytes(32)
    raw = (
        struct.pack(">H", len(names) - 1)
        + counted
        + struct.pack(">II", 1, 1_700_000_000)
        + key
        + struct.pack(">I", kvno)
    )
    return struct.pack(">i", len(raw)) + raw


HOLE = struct.pack(">i", -8) + bytes(8)
OURS = VERSION + entry(["HTTP", "localhost"])


def seeds() -> Iterator[bytes]:
    yield OURS
    yield VERSION
    yield OURS + HOLE + entry(["HTTP", "localhost"], kvno=300) + entry(["host", "localhost"])
    yield OURS + entry(["HTTP", "localhost"], enctype=RC4)
    yield VERSION + entry(["alice"], realm="PARTNER.EXAMPLE") + entry(["HTTP", "other"])


def written(data: bytes) -> None:
    descriptor = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, data)
    os.close(descriptor)


written(OURS)
KEYS = AcceptorKeys([FILE], realms=frozenset({REALM}), hosts=None)


def one_input(data: bytes) -> None:
    # Most inventions would fall to the first two bytes.
    for content in (data, VERSION + data):
        written(content)
        judge_reading()
        judge_reload()


def judge_reading() -> None:
    try:
        found = read(FILE)
    except UnusableKeytab:
        return
    for key in found:
        judge_key(key)
    written(VERSION + b"".join(struct.pack(">i", len(key.raw)) + key.raw for key in found))
    assert read(FILE) == found


def judge_key(key: Key) -> None:
    """What was read stands in the entry, and the key itself too, whole."""
    names = [part.encode() for part in (key.realm, *key.components)]
    head = struct.pack(">H", len(key.components)) + b"".join(struct.pack(">H", len(name)) + name for name in names)
    assert key.raw.startswith(head)
    _, made_at, short_kvno, enctype, length = struct.unpack_from(">IIBHH", key.raw, len(head))
    behind = key.raw[len(head) + 13 + length :]
    assert (key.made_at, key.enctype) == (made_at, enctype)
    assert len(head) + 13 + length <= len(key.raw)
    assert key.kvno in {short_kvno, int.from_bytes(behind[:4], "big")}


def judge_reload() -> None:
    before, name = KEYS.keys, KEYS.name
    try:
        has_changed = KEYS.reload()
    except ConfigurationError as error:
        assert error.problems
        assert KEYS.keys is before
        assert KEYS.name == name
    else:
        assert has_changed == (KEYS.keys != before) == (KEYS.name != name)
        assert KEYS.keys
    assert all(is_ours(key) for key in KEYS.keys)
    # GSS-API takes it, whatever of it was invented.
    raw.acquire_cred_from({b"keytab": KEYS.name.encode()}, usage="accept")


def is_ours(key: Key) -> bool:
    return key.enctype in {17, 18, 19, 20} and key.realm == REALM and key.components == ("HTTP", key.components[1])
