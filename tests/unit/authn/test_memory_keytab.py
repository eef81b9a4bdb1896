"""A keytab that no file holds: read by libkrb5 itself, gone when it is closed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from gssapi import raw

from broker.authn.memory_keytab import Krb5Error, MemoryKeytab

REALM, AES256 = b"EXAMPLE.COM", 18


def counted(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def content(*kvnos: int) -> bytes:
    whole = b"\x05\x02"
    for kvno in kvnos:
        body = struct.pack(">H", 2) + counted(REALM) + counted(b"HTTP") + counted(b"localhost")
        body += struct.pack(">IIBH", 1, 0, kvno, AES256) + counted(b"k" * 32)
        whole += struct.pack(">i", len(body)) + body
    return whole


def acquired(name: str) -> raw.Creds:
    return raw.acquire_cred_from({b"keytab": name.encode()}, usage="accept").creds


def test_gss_api_finds_the_keys_by_its_name_and_no_file_is_left_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    keytab = MemoryKeytab(content(1, 2))
    assert acquired(keytab.name) is not None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_each_has_a_name_of_its_own_and_what_is_closed_is_gone() -> None:
    first, second = MemoryKeytab(content(1)), MemoryKeytab(content(2))
    assert first.name != second.name
    first.close()
    with pytest.raises(raw.GSSError):
        acquired(first.name)
    assert acquired(second.name) is not None


def test_what_is_no_keytab_says_so_in_the_library_s_words() -> None:
    with pytest.raises(Krb5Error, match="krb5_kt_start_seq_get: "):
        MemoryKeytab(b"\x07\x07garbage")
