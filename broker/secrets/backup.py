"""The whole vault in one file, readable on a machine that has nothing but a master key, or the recovery key.

    magic | header (a line of JSON: when, and the file's key as each master wraps it) | frames

A frame is a length and a blob sealed by the file's own key, bound to the header's digest and to its number: frame 0 stands for
the header, then come secrets, each followed by its versions, and the last one says how many there were. So whatever is altered,
cut off, exchanged or put in from elsewhere is found and named by number. Nothing of the store's or the hierarchy's keys goes
along: values are opened on the way out, and sealed by the keys of the machine on the way in. One secret at a time is in memory.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

import orjson

from broker.keys.envelope import KEY_BYTES, CannotOpen, Envelope
from broker.keys.master.port import MasterKey, MasterUnavailable
from broker.secrets.encoding import fields_of, metadata_as_bytes, metadata_of, stamp_as_bytes, stamp_of
from broker.secrets.metadata import Metadata, Stamp
from broker.secrets.vault import Saved, Vault

_MAGIC = b"zerotrust vault backup 1\n"
_CONTEXT = b"vault-backup/v1\0"
_HEADER_MAX = 64 << 10
# The master key and a recovery key. Whoever opens a file of others asks a key service for each, which may charge by the question.
_KEYS_MAX = 8
# Bytes of a frame: values of 64 KiB, or metadata of a hundred versions and their names.
_FRAME_MAX = 1 << 20
_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")
_HEAD, _SECRET, _USE, _VERSION, _END = b"H", b"S", b"U", b"V", b"E"


class Damaged(Exception):
    """It is not what was written: ``record`` is the number of the first frame that shows it, 0 the header."""

    def __init__(self, record: int, what: str) -> None:
        where = "the header" if record == 0 else f"record {record}"
        super().__init__(f"{where} {what}")
        self.record = record


class Foreign(Exception):
    """No key that is here opens it."""


@dataclass(slots=True)
class Contents:
    """What a backup holds: when it was made, how many secrets and versions, how many frames."""

    made: datetime
    secrets: int = 0
    versions: int = 0
    records: int = 0


async def back_up(vault: Vault, out: BinaryIO, *, masters: Sequence[MasterKey], made: datetime) -> Contents:
    """Write everything that is there, each secret as it is at one moment. While it runs, others may write.

    Raises:
        MasterUnavailable: A master cannot wrap the file's key: a backup that fewer can open than should is none.
    """
    key = os.urandom(KEY_BYTES)
    stated = made.isoformat()
    wrapped = [
        {"master": one.id, "wrapped": base64.b64encode(await one.wrap(key, context=_key_context(stated))).decode()}
        for one in masters
    ]
    header = _MAGIC + orjson.dumps({"made": stated, "keys": wrapped}) + b"\n"
    out.write(header)
    frames = _Frames(out, Envelope(keys=[key]), header)
    frames.put(_HEAD, b"")
    found = Contents(made=made)
    async for saved in vault.saved():
        frames.put(_SECRET, metadata_as_bytes(saved.metadata))
        if saved.used is not None:
            frames.put(_USE, stamp_as_bytes(saved.used))
        for number, text in sorted(saved.versions.items()):
            frames.put(_VERSION, _NUMBER.pack(number) + text)
        found.secrets += 1
        found.versions += len(saved.versions)
    frames.put(_END, orjson.dumps([found.secrets, found.versions]))
    found.records = frames.number
    return found


async def read_back(source: BinaryIO, *, masters: Sequence[MasterKey]) -> tuple[Contents, Iterator[Saved]]:
    """What it holds, secret by secret. The contents are counted as they come, and whole at the end alone.

    Raises:
        Damaged: At once, or on the way: what came before is sound, and what follows is not read.
        Foreign: No master opens it.
        MasterUnavailable: One that may open it cannot be asked.
    """
    header = source.read(len(_MAGIC)) + source.readline(_HEADER_MAX)
    stated, wrapped = _header_of(header)
    envelope = Envelope(keys=[await _unwrapped(stated, wrapped, masters)])
    found = Contents(made=datetime.fromisoformat(stated))
    frames = _frames_of(source, envelope, _context_of(header))
    next(frames)
    return found, _to_the_end(source, _secrets_of(frames, found), found)


@dataclass(slots=True)
class Restored:
    """What came in, and the paths that were there already and stayed as they are."""

    secrets: int
    versions: int
    kept: list[str]


class NotEmpty(Exception):
    """There are secrets in the vault that should have none."""


async def restore(vault: Vault, source: BinaryIO, *, masters: Sequence[MasterKey], merge: bool) -> Restored:
    """Bring back what is not there. A secret comes whole or not at all; broken off, the rest comes with ``merge``.

    Raises:
        NotEmpty: There are secrets, and ``merge`` is not said: nothing is changed.
        Damaged, Foreign, MasterUnavailable: As ``read_back``. Look through it once before: ``verify``.
    """
    if not merge and (await vault.tally()).secrets:
        raise NotEmpty
    _, secrets = await read_back(source, masters=masters)
    done = Restored(0, 0, [])
    for saved in secrets:
        if await vault.adopt(saved):
            done.secrets += 1
            done.versions += len(saved.versions)
        else:
            done.kept.append(saved.metadata.path)
    await vault.note_uses()
    return done


async def verify(source: BinaryIO, *, masters: Sequence[MasterKey]) -> Contents:
    """Read all of it as a restore would, every value too, into nowhere. Raises as ``read_back``."""
    found, secrets = await read_back(source, masters=masters)
    for saved in secrets:
        for text in saved.versions.values():
            fields_of(text)
    return found


# ---- inside ----


class _Frames:
    def __init__(self, out: BinaryIO, envelope: Envelope, header: bytes) -> None:
        self._out = out
        self._envelope = envelope
        self._context = _context_of(header)
        self.number = 0

    def put(self, kind: bytes, text: bytes) -> None:
        blob = self._envelope.seal(kind + text, context=self._context + _NUMBER.pack(self.number))
        self._out.write(_LENGTH.pack(len(blob)) + blob)
        self.number += 1


def _frames_of(source: BinaryIO, envelope: Envelope, context: bytes) -> Iterator[tuple[bytes, bytes]]:
    number = 0
    while True:
        head = source.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
        if not 0 < length <= _FRAME_MAX:
            raise Damaged(number, "is missing: the file is cut short" if not head else "was altered or cut")
        blob = source.read(length)
        if len(blob) != length:
            raise Damaged(number, "was altered or cut")
        try:
            plain = envelope.open(blob, context=context + _NUMBER.pack(number))
        except CannotOpen as error:
            raise Damaged(number, "was altered, cut, or does not belong here") from error
        yield plain[:1], plain[1:]
        number += 1


def _secrets_of(frames: Iterator[tuple[bytes, bytes]], found: Contents) -> Iterator[Saved]:
    metadata: Metadata | None = None
    used: Stamp | None = None
    versions: dict[int, bytes] = {}
    for number, (kind, text) in enumerate(frames, start=1):
        found.records = number + 1
        if kind in (_SECRET, _END) and metadata is not None:
            yield Saved(metadata, versions, used)
            found.secrets += 1
            found.versions += len(versions)
            metadata, used, versions = None, None, {}
        if kind == _SECRET:
            metadata = metadata_of(text)
        elif kind == _USE:
            used = stamp_of(text)
        elif kind == _VERSION:
            versions[_NUMBER.unpack_from(text)[0]] = text[_NUMBER.size :]
        else:
            if orjson.loads(text) != [found.secrets, found.versions]:
                raise Damaged(number, "counts other secrets than there are")
            return


def _to_the_end(source: BinaryIO, secrets: Iterator[Saved], found: Contents) -> Iterator[Saved]:
    yield from secrets
    if source.read(1):
        raise Damaged(found.records, "follows the last one")


def _header_of(header: bytes) -> tuple[str, list[bytes]]:
    """When it was made, and the wrapped keys."""
    if not header.startswith(_MAGIC):
        raise Damaged(0, "is not that of a backup of a vault")
    try:
        stated = orjson.loads(header[len(_MAGIC) :])
        wrapped = [base64.b64decode(one["wrapped"], validate=True) for one in stated["keys"]]
        made = str(stated["made"])
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(0, "was altered or cut") from error
    if len(wrapped) > _KEYS_MAX:
        raise Damaged(0, "names more keys than anybody wraps a backup with")
    return made, wrapped


async def _unwrapped(stated: str, wrapped: Sequence[bytes], masters: Sequence[MasterKey]) -> bytes:
    away: MasterUnavailable | None = None
    for master in masters:
        for blob in wrapped:
            try:
                return await master.unwrap(blob, context=_key_context(stated))
            except CannotOpen:
                continue
            except MasterUnavailable as error:
                away = error
    if away is not None:
        raise away
    raise Foreign


def _key_context(stated: str) -> bytes:
    return _CONTEXT + stated.encode()


def _context_of(header: bytes) -> bytes:
    return _CONTEXT + hashlib.sha256(header).digest()
