"""The acceptor's keys: every keytab file, checked, and of them only the keys that this broker answers with.

MIT's acceptor takes any key of its keytab: a ``host/`` ticket would do for an ``HTTP/`` one, and RC4 as well as AES. So the
broker reads the files itself, refuses what must not be there, and gives GSS-API one keytab in memory that holds exactly
the ``HTTP/HOST@REALM`` keys it was told to answer for: what is not in there cannot be accepted.

File format: MIT krb5, "Keytab file format", version 0x0502.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.authn.memory_keytab import Krb5Error, MemoryKeytab
from broker.core.errors import ConfigurationError
from broker.core.private_file import PermissionProblem, open_private, private_files

SERVICE = "HTTP"

_VERSION = b"\x05\x02"
# RFC 3962 and RFC 8009. DES, 3DES, RC4 and Camellia are not answered with.
_AES = frozenset({17, 18, 19, 20})
_KEY_BYTES = {17: 16, 18: 32, 19: 16, 20: 32}
_RC4 = frozenset({23, 24})
_RC4_FIX = "fix: remove it with ktutil, and make AES keys only"


class UnusableKeytab(ValueError):
    """Not a keytab, cut short, or with keys that must not be used."""


@dataclass(frozen=True, slots=True)
class Key:
    """One entry. ``made_at`` is in Unix seconds; ``raw`` is the entry as it stands in the file, and shows in no repr."""

    components: tuple[str, ...]
    realm: str
    kvno: int
    enctype: int
    made_at: int
    raw: bytes

    def __repr__(self) -> str:
        return f"Key({'/'.join(self.components)}@{self.realm}, kvno {self.kvno}, enctype {self.enctype})"


class AcceptorKeys:
    """The keys that count, as a keytab that exists in memory only.

    ``reload()`` follows the files: a rotation is taken over whole, a file that cannot be used changes nothing. A ticket
    made with an old key is taken as long as that key's version is still in the files (``kadmin ktadd`` appends).
    """

    def __init__(self, paths: Sequence[Path], *, realms: frozenset[str], hosts: frozenset[str] | None) -> None:
        """Read keytab files, and every file of folders, and keep the keys for ``HTTP/HOST@REALM``.

        Args:
            paths: Files or folders.
            realms: Realms this broker serves.
            hosts: Host names it answers to; None for all that the keytabs have an HTTP key for.

        Raises:
            ConfigurationError: A file that is open to others, no keytab, or holds RC4 keys for us; no usable key at all.
        """
        self._paths = paths
        self._realms = realms
        self._hosts = hosts
        self.keys = self._read()
        self._keytab = _in_memory(self.keys)

    @property
    def name(self) -> str:
        """What GSS-API opens; another one whenever the keys change."""
        return self._keytab.name

    @property
    def hosts(self) -> frozenset[str]:
        """The host names that clients may ask for."""
        return frozenset(key.components[1] for key in self.keys)

    def reload(self) -> bool:
        """Take over what the files hold now; whether that is something else than before.

        To be called where tickets are accepted (the event loop), so that no accept sees half a keytab.

        Raises:
            ConfigurationError: As at the start. The keys stay what they were.
        """
        keys = self._read()
        if keys == self.keys:
            return False
        before, self._keytab, self.keys = self._keytab, _in_memory(keys), keys
        before.close()
        return True

    def _read(self) -> tuple[Key, ...]:
        problems: list[str] = []
        keys: list[Key] = []
        for file in _files(self._paths, problems):
            place = f"{file}: kerberos.keytabs:"
            try:
                ours = [key for key in read(file) if self._is_ours(key)]
            except UnusableKeytab as error:
                problems.append(f"{place} {error} — fix: write it anew with kadmin ktadd, and rename it into place")
            except (PermissionProblem, OSError) as error:
                problems.append(f"{place} {error}")
            else:
                keys += ours
                problems += [f"{place} {key!r} is an RC4 key — {_RC4_FIX}" for key in ours if key.enctype in _RC4]
        usable = tuple(key for key in keys if key.enctype in _AES)
        if not usable and not problems:
            names = " or ".join(f"{SERVICE}/{host}" for host in sorted(self._hosts or {"HOST"}))
            where = ", ".join(map(str, self._paths))
            fix = f"kadmin ktadd -k FILE {SERVICE}/HOST"
            problems.append(f"kerberos.keytabs: no AES key for {names} in {where} — fix: {fix}")
        if problems:
            raise ConfigurationError(problems)
        return usable

    def _is_ours(self, key: Key) -> bool:
        if len(key.components) != 2 or key.components[0] != SERVICE or key.realm not in self._realms:  # noqa: PLR2004
            return False
        return self._hosts is None or key.components[1] in self._hosts


def _in_memory(keys: Sequence[Key]) -> MemoryKeytab:
    fix = "fix: write the keytab anew with kadmin ktadd"
    try:
        made = MemoryKeytab(_VERSION + b"".join(struct.pack(">i", len(key.raw)) + key.raw for key in keys))
    except Krb5Error as error:
        raise ConfigurationError(
            [f"kerberos.keytabs: the Kerberos library cannot read them: {error} — {fix}"]
        ) from error
    if made.number != len(keys):
        made.close()
        what = f"the Kerberos library reads {made.number} keys of {len(keys)}"
        raise ConfigurationError([f"kerberos.keytabs: {what} — {fix}"])
    return made


def read(path: Path) -> list[Key]:
    """All entries of one keytab file.

    Raises:
        UnusableKeytab: Not the format.
        PermissionProblem: Open to others.
    """
    with open_private(path) as file:
        data = file.read()
    if data[:2] != _VERSION:
        raise UnusableKeytab("is not a keytab (version 0x0502)")
    return list(_entries(data))


def _files(paths: Sequence[Path], problems: list[str]) -> Iterator[Path]:
    for path in paths:
        try:
            found = private_files(path)
        except PermissionProblem as error:
            problems.append(f"{path}: kerberos.keytabs: {error}")
            continue
        if not found:
            problems.append(f"{path}: kerberos.keytabs: no keytab in this folder — fix: put one there")
        yield from found


def _entries(data: bytes) -> Iterator[Key]:
    offset = len(_VERSION)
    while offset < len(data):
        size = _unpack(">i", data, offset)
        offset += 4
        if size > 0:  # A negative size is a hole that a removed entry left.
            yield _entry(data[offset : offset + size], size)
        offset += abs(size)


def _entry(raw: bytes, size: int) -> Key:
    if len(raw) != size:
        raise UnusableKeytab("is cut short")
    count = _unpack(">H", raw, 0)
    realm, offset = _counted(raw, 2)
    components = []
    for _ in range(count):
        component, offset = _counted(raw, offset)
        components.append(component)
    made_at = _unpack(">I", raw, offset + 4)  # behind the name type
    offset += 4 + 4
    kvno = _unpack(">B", raw, offset)
    enctype = _unpack(">H", raw, offset + 1)
    length = _unpack(">H", raw, offset + 3)
    key_end = offset + 5 + length
    if key_end > len(raw):
        raise UnusableKeytab("is cut short")
    if length != _KEY_BYTES.get(enctype, length):
        # libkrb5 takes an empty one for the end of the file, and all behind it would be missing.
        raise UnusableKeytab(f"holds a key of {length} octets where type {enctype} has {_KEY_BYTES[enctype]}")
    if len(raw) - key_end >= 4:  # noqa: PLR2004  # a 32-bit kvno may follow and then counts
        kvno = _unpack(">I", raw, key_end) or kvno
    return Key(components=tuple(components), realm=realm, kvno=kvno, enctype=enctype, made_at=made_at, raw=raw)


def _counted(raw: bytes, offset: int) -> tuple[str, int]:
    end = offset + 2 + _unpack(">H", raw, offset)
    if end > len(raw):
        raise UnusableKeytab("is cut short")
    try:
        return raw[offset + 2 : end].decode(), end
    except UnicodeDecodeError as error:
        raise UnusableKeytab("holds a name that is not UTF-8") from error


def _unpack(layout: str, data: bytes, offset: int) -> int:
    try:
        (value,) = struct.unpack_from(layout, data, offset)
    except struct.error as error:
        raise UnusableKeytab("is cut short") from error
    return int(value)
