"""The keys that count: of files that are private and whole, and only those for our own names."""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile
from pathlib import Path

import pytest

from broker.authn import keytab
from broker.authn.keytab import AcceptorKeys, UnusableKeytab
from broker.authn.memory_keytab import _END
from broker.core.errors import ConfigurationError
from broker.core.private_file import PermissionProblem

REALMS = frozenset({"EXAMPLE.COM"})
AES256, AES128_SHA2, RC4 = 18, 19, 23
CANARY = b"canary-key-bytes-canary-key-byte"


def counted(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack(">H", len(raw)) + raw


def entry(
    name: str | bytes = "HTTP/localhost",
    *,
    realm: str = "EXAMPLE.COM",
    kvno: int = 1,
    enctype: int = AES256,
    wide_kvno: int | None = None,
    tail: bytes = b"",
    key_bytes: int | None = None,
) -> bytes:
    """One entry as MIT krb5 writes it, length included."""
    components = name.split("/") if isinstance(name, str) else [name]
    key_bytes = (16 if enctype in {17, 19} else 32) if key_bytes is None else key_bytes
    body = struct.pack(">H", len(components)) + counted(realm) + b"".join(map(counted, components))
    body += struct.pack(">IIBH", 1, 0, kvno & 0xFF, enctype) + counted(CANARY[:key_bytes])
    if wide_kvno is not None:
        body += struct.pack(">I", wide_kvno)
    body += tail
    return struct.pack(">i", len(body)) + body


def hole(size: int) -> bytes:
    return struct.pack(">i", -size) + b"\xaa" * size


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "http.keytab"
    path.touch(mode=0o600)
    return path


def write(path: Path, *entries: bytes, version: bytes = b"\x05\x02") -> Path:
    path.write_bytes(version + b"".join(entries))
    return path


def served(keys: AcceptorKeys) -> list[tuple[tuple[str, ...], str, int, int, bool]]:
    """What GSS-API has at the next accept, as libkrb5 itself writes it into a file."""
    memory = keys._keytab
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "keytab")
        file, cursor, entry = memory._resolved(f"FILE:{path}"), ctypes.c_void_p(), ctypes.create_string_buffer(256)
        library = memory._krb5
        library.call("krb5_kt_start_seq_get", memory._handle, ctypes.byref(cursor))
        while not library.call("krb5_kt_next_entry", memory._handle, entry, ctypes.byref(cursor), but=_END):
            library.call("krb5_kt_add_entry", file, entry)
            library.free("krb5_free_keytab_entry_contents", entry)
        library.call("krb5_kt_end_seq_get", memory._handle, ctypes.byref(cursor))
        library.call("krb5_kt_close", file)
        path.chmod(0o600)
        return meant(path)


def meant(path: Path) -> list[tuple[tuple[str, ...], str, int, int, bool]]:
    """The keys of a file, less when they were made: libkrb5 puts that in where it is missing."""
    found = ((key.components, key.realm, key.kvno, key.enctype, CANARY[:16] in key.raw) for key in keytab.read(path))
    return sorted(found)


def faults(*paths: Path, hosts: frozenset[str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        AcceptorKeys(paths, realms=REALMS, hosts=hosts)
    return str(caught.value)


def test_entries_are_read_past_the_holes_that_removed_ones_left(file: Path) -> None:
    write(file, hole(10), entry(kvno=1), hole(77), entry(kvno=2), hole(3))
    assert [key.kvno for key in keytab.read(file)] == [1, 2]


def test_a_32_bit_kvno_counts_before_the_8_bit_one(file: Path) -> None:
    write(file, entry(kvno=3, wide_kvno=259), entry(kvno=7, wide_kvno=0), entry(kvno=8, tail=b"\0\0"))
    assert [key.kvno for key in keytab.read(file)] == [259, 7, 8]


def test_a_keytab_cut_at_any_byte_gives_whole_entries_or_a_refusal(file: Path) -> None:
    first, second = entry(kvno=1), entry(kvno=2, wide_kvno=2)
    whole = b"\x05\x02" + first + second
    ends = {2: 0, 2 + len(first): 1, len(whole): 2}
    for end in range(len(whole) + 1):
        file.write_bytes(whole[:end])
        if end in ends:
            assert len(keytab.read(file)) == ends[end]
        else:
            with pytest.raises(UnusableKeytab):
                keytab.read(file)


def test_lengths_that_point_outside_are_refused(file: Path) -> None:
    good = entry()
    for place in range(4, len(good)):
        spoilt = bytearray(good)
        spoilt[place] = 0xFF
        try:
            keytab.read(write(file, bytes(spoilt)))
        except UnusableKeytab:
            continue
        assert keytab.read(file)[0].raw == bytes(spoilt[4:])
    with pytest.raises(UnusableKeytab):
        keytab.read(write(file, struct.pack(">i", 0x7FFFFFFF)))
    assert keytab.read(write(file, struct.pack(">i", -0x80000000))) == []
    assert keytab.read(write(file, b"\0\0\0\0" * 3)) == []


@pytest.mark.parametrize("content", [b"", b"\x05", b"\x05\x01", b"-----BEGIN PRIVATE KEY-----", b"\0" * 64])
def test_a_file_that_is_no_keytab_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert "is not a keytab" in faults(file)


def test_a_name_that_is_not_utf8_is_refused(file: Path) -> None:
    assert "not UTF-8" in faults(write(file, entry(b"HTTP\xff")))


def test_the_keys_of_a_keytab_show_in_no_repr(file: Path) -> None:
    keys = AcceptorKeys([write(file, entry())], realms=REALMS, hosts=None)
    shown = repr(keys.keys) + repr(keys)
    assert "HTTP/localhost@EXAMPLE.COM" in shown
    assert "canary" not in shown


def test_only_our_service_on_our_hosts_in_our_realms_is_answered_for(file: Path) -> None:
    write(
        file,
        entry("HTTP/localhost"),
        entry("HTTP/other.example.com"),
        entry("host/localhost"),
        entry("http/localhost"),
        entry("HTTP"),
        entry("HTTP/localhost/x"),
        entry("HTTP/localhost", realm="PARTNER.EXAMPLE"),
        entry("krbtgt/EXAMPLE.COM"),
    )
    keys = AcceptorKeys([file], realms=REALMS, hosts=frozenset({"localhost"}))
    assert [str(key) for key in keys.keys] == ["Key(HTTP/localhost@EXAMPLE.COM, kvno 1, enctype 18)"]
    # What GSS-API opens holds that one key and nothing else.
    write(file, entry("HTTP/localhost"))
    assert served(keys) == meant(file)
    assert keys.hosts == {"localhost"}


@pytest.mark.parametrize("key_bytes", [0, 16, 31])
def test_a_key_of_another_length_than_its_type_has_is_refused_because_libkrb5_would_stop_there(
    file: Path, key_bytes: int
) -> None:
    said = faults(write(file, entry(key_bytes=key_bytes), entry(kvno=2)))
    assert f"holds a key of {key_bytes} octets where type 18 has 32" in said
    assert "kadmin ktadd" in said


def test_where_libkrb5_finds_fewer_keys_than_we_did_the_old_ones_stay(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = AcceptorKeys([write(file, entry())], realms=REALMS, hosts=None)
    before = (keys.keys, keys.name)
    # As in a version of the library that stops at something that this one reads.
    monkeypatch.setattr(keytab, "_VERSION", b"\x05\x02\0\0\0\0")
    monkeypatch.setattr(AcceptorKeys, "_read", lambda _: before[0] * 2)
    with pytest.raises(ConfigurationError, match="the Kerberos library reads 0 keys of 2"):
        keys.reload()
    assert (keys.keys, keys.name) == before


def test_all_versions_of_a_key_are_kept_for_tickets_that_are_still_out(file: Path) -> None:
    keys = AcceptorKeys([write(file, entry(kvno=1), entry(kvno=2, enctype=AES128_SHA2))], realms=REALMS, hosts=None)
    assert [(key.kvno, key.enctype) for key in keys.keys] == [(1, AES256), (2, AES128_SHA2)]


@pytest.mark.parametrize("entries", [(RC4,), (AES256, RC4), (24,)])
def test_an_rc4_key_of_ours_does_not_start(file: Path, entries: tuple[int, ...]) -> None:
    said = faults(write(file, *(entry(enctype=enctype) for enctype in entries)))
    assert "RC4" in said
    assert "fix:" in said


def test_a_foreign_service_s_rc4_key_is_simply_not_ours(file: Path) -> None:
    keys = AcceptorKeys([write(file, entry(), entry("nfs/x", enctype=RC4))], realms=REALMS, hosts=None)
    assert [key.enctype for key in keys.keys] == [AES256]


@pytest.mark.parametrize("enctype", [1, 3, 16, 25, 26])
def test_a_keytab_without_an_aes_key_for_us_does_not_start(file: Path, enctype: int) -> None:
    said = faults(write(file, entry(enctype=enctype)), hosts=frozenset({"localhost"}))
    assert "no AES key for HTTP/localhost" in said


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602, 0o666])
def test_a_keytab_that_others_can_touch_is_refused(file: Path, mode: int) -> None:
    write(file, entry()).chmod(mode)
    with pytest.raises(PermissionProblem):
        keytab.read(file)
    assert f"mode {mode:04o}" in faults(file)


def test_a_symbolic_link_is_refused(tmp_path: Path, file: Path) -> None:
    write(file, entry())
    link = tmp_path / "link.keytab"
    link.symlink_to(file)
    assert "symbolic link" in faults(link)


def test_a_keytab_of_a_foreign_owner_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, entry())
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
    else:  # Nobody but root can give a file away, so we become somebody else.
        monkeypatch.setattr("os.geteuid", lambda: 65534)
    assert "belongs to user id" in faults(file)


def test_a_missing_keytab_a_folder_of_none_and_a_fifo_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in faults(tmp_path / "nothing.keytab")
    assert "no keytab in this folder" in faults(tmp_path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert "not a regular file" in faults(tmp_path / "fifo")


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    good, bad, link = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    good.touch(mode=0o600)
    bad.touch(mode=0o600)
    write(good, entry())
    bad.write_bytes(b"x")
    link.symlink_to(good)
    said = faults(tmp_path)
    assert str(bad) in said
    assert str(link) in said


# ---- reload ----


def test_a_rotation_is_taken_over_whole_and_told_once(file: Path) -> None:
    keys = AcceptorKeys([write(file, entry(kvno=1))], realms=REALMS, hosts=None)
    name = keys.name
    assert keys.reload() is False
    write(file, entry(kvno=1), entry("HTTP/other", kvno=2))
    assert keys.reload() is True
    assert keys.reload() is False
    assert keys.name != name, "so the acceptor sees that it changed"
    assert served(keys) == meant(file)
    assert keys.hosts == {"localhost", "other"}


def test_a_keytab_that_has_become_shorter_leaves_nothing_of_the_longer_one(file: Path) -> None:
    keys = AcceptorKeys([write(file, entry(kvno=1), entry(kvno=2))], realms=REALMS, hosts=None)
    write(file, entry(kvno=2))
    keys.reload()
    assert served(keys) == meant(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\x05\x02",
        b"\x05\x02" + entry(kvno=2)[:-1],
        b"\x05\x02" + entry(kvno=2) + entry(enctype=RC4),
        b"\x05\x02" + entry("host/localhost"),
    ],
)
def test_files_that_cannot_be_used_change_nothing(file: Path, content: bytes) -> None:
    keys = AcceptorKeys([write(file, entry(kvno=1))], realms=REALMS, hosts=None)
    before = (keys.keys, served(keys))
    file.write_bytes(content)
    with pytest.raises(ConfigurationError):
        keys.reload()
    assert (keys.keys, served(keys)) == before
    file.chmod(0o644)
    write(file, entry(kvno=2))
    with pytest.raises(ConfigurationError):
        keys.reload()
    assert (keys.keys, served(keys)) == before
    file.chmod(0o600)
    assert keys.reload() is True


def test_a_folder_is_followed_as_files_come_and_go(tmp_path: Path) -> None:
    folder = tmp_path / "keytabs"
    folder.mkdir(mode=0o700)
    for name in ("a", "b"):
        (folder / f"{name}.keytab").touch(mode=0o600)
        write(folder / f"{name}.keytab", entry(f"HTTP/{name}"))
    keys = AcceptorKeys([folder], realms=REALMS, hosts=None)
    assert keys.hosts == {"a", "b"}
    (folder / "a.keytab").unlink()
    assert keys.reload() is True
    assert keys.hosts == {"b"}
