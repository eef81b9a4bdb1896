"""The chain: each record holds the hash of the one before it and a signature of its own. Pure; no file, no clock.

A line is the record as canonical JSON (RFC 8785: members sorted, no white space, UTF-8). ``sig`` is a detached JWS over the
same JSON without ``sig``; ``prev`` is the SHA-256, in hex, of the whole line before, so a signature cannot be exchanged
either. A checkpoint is a signed statement of where the chain stood; it finds what a chain alone cannot: a tail cut off.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from broker.keys.signing import BadSignature, Ed25519Signer, KeySet

# A line with its line feed, in bytes. A record takes half a kilobyte; whoever reads may stop here instead of filling the memory.
RECORD_MAX = 1 << 20
# What `link` adds to the members: two hashes, a key id, a signature, a number.
_CHAIN_MEMBERS_MAX = 1024

_FIRST_PREV = "0" * 64
# A host name and a number (see sinks.file). It is a part of file names, so nothing else may come through.
_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CHECKPOINT_TYPE = "zerotrust-audit-checkpoint/v1"


class BrokenRecord(ValueError):
    """A line is not the record that belongs at its place."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain stands: the last record's number and the hash of its line."""

    seq: int = 0
    digest: str = _FIRST_PREV


@dataclass(frozen=True, slots=True)
class Position:
    """Whose chain, and where it stands."""

    instance: str
    head: Head


def canonical(value: Mapping[str, Any]) -> bytes:
    """RFC 8785 for what records hold: strings, integers below 2^53, booleans, null, and objects of those.

    Member names are ASCII, where UTF-16 order (RFC 8785, section 3.2.3) and orjson's order are one.

    Raises:
        BrokenRecord: A string holds half a surrogate pair: it is no Unicode text and has no UTF-8 form.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise BrokenRecord(f"not expressible as JSON: {error}") from error


def require_recordable(members: Mapping[str, Any]) -> None:
    """Find out before the chain is touched, so that one bad event costs nobody else their record.

    Raises:
        BrokenRecord: The members have no JSON form, or one that is longer than any reader accepts.
    """
    if len(canonical(members)) > RECORD_MAX - _CHAIN_MEMBERS_MAX:
        raise BrokenRecord(f"longer than {RECORD_MAX} bytes")


def link(head: Head, members: Mapping[str, Any], *, signer: Ed25519Signer) -> tuple[bytes, Head]:
    """Put a record behind ``head``: the line (without line feed) and the new head."""
    record = {**members, "seq": head.seq + 1, "prev": head.digest, "kid": signer.kid}
    record["sig"] = signer.sign_detached(canonical(record))
    line = canonical(record)
    return line, Head(seq=head.seq + 1, digest=_digest(line))


def position_of(line: bytes) -> Position:
    """The position that a line stands for, taken at its word: nothing is checked.

    Raises:
        BrokenRecord: Not a record.
    """
    record = _parse(line)
    return _position(record, digest=_digest(line))


def check(line: bytes, *, after: Head, keys: KeySet) -> tuple[Mapping[str, Any], Head]:
    """Check one line against the head before it.

    Raises:
        BrokenRecord: Any byte of it is not as it was written, or it stands in the wrong place.
    """
    record = _parse(line)
    if canonical(record) != line:
        raise BrokenRecord("not in canonical form")
    if record.get("seq") != after.seq + 1:
        raise BrokenRecord(f"expected sequence number {after.seq + 1}, found {record.get('seq')}")
    if record.get("prev") != after.digest:
        raise BrokenRecord("does not follow the record before it")
    signature, kid = record.pop("sig", None), record.get("kid")
    if not isinstance(signature, str) or not isinstance(kid, str):
        raise BrokenRecord("not signed")
    try:
        keys.verify_detached(signature, kid=kid, payload=canonical(record))
    except BadSignature as error:
        raise BrokenRecord(str(error)) from error
    return record, Head(seq=after.seq + 1, digest=_digest(line))


def seal_checkpoint(position: Position, *, timestamp: str, signer: Ed25519Signer) -> str:
    """A checkpoint, the signed statement of a position, as a compact JWS."""
    statement = {
        "typ": _CHECKPOINT_TYPE,
        "instance": position.instance,
        "seq": position.head.seq,
        "digest": position.head.digest,
        "timestamp": timestamp,
    }
    return signer.sign_compact(canonical(statement))


def open_checkpoint(text: str, *, keys: KeySet) -> Position:
    """The position that a checkpoint states.

    Raises:
        BrokenRecord: Not signed by a key of the set, or not a checkpoint.
    """
    try:
        statement = orjson.loads(keys.verify_compact(text))
    except (BadSignature, orjson.JSONDecodeError) as error:
        raise BrokenRecord(f"a checkpoint is damaged: {error}") from error
    if not isinstance(statement, dict) or statement.get("typ") != _CHECKPOINT_TYPE:
        raise BrokenRecord("signed, but not a checkpoint")
    return _position(statement, digest=statement.get("digest"))


def _position(members: Mapping[str, Any], *, digest: object) -> Position:
    seq, instance = members.get("seq"), members.get("instance")
    # True is an int to isinstance.
    if type(seq) is not int or not isinstance(digest, str):
        raise BrokenRecord("no sequence number or no digest")
    if not isinstance(instance, str) or not _INSTANCE.fullmatch(instance):
        raise BrokenRecord("no instance")
    return Position(instance=instance, head=Head(seq=seq, digest=digest))


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _parse(line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BrokenRecord("not JSON") from error
    if not isinstance(record, dict):
        raise BrokenRecord("not a JSON object")
    return record
