"""The chain: each record holds the hash of the one before it and a signature of its own. Pure; no file, no clock.

A line is the record as canonical JSON (RFC 8785: members sorted, no white space, UTF-8). ``sig`` is a detached JWS over the
same JSON without ``sig``; ``prev`` is the SHA-256, in hex, of the whole line before, so a signature cannot be exchanged
either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from broker.keys.signing import BadSignature, Ed25519Signer, KeySet

# A line with its line feed, in bytes. A record takes half a kilobyte; whoever reads may stop here instead of filling the memory.
RECORD_MAX = 1 << 20
# What `link` adds to the members: two hashes, a key id, a signature, a number.
_CHAIN_MEMBERS_MAX = 1024

_FIRST_PREV = "0" * 64
# A host name and a number (see sinks.file). It is a part of file names, so nothing else may come through.
_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,128}")


class BrokenRecord(ValueError):
    """A line is not the record that belongs at its place."""


class Head(NamedTuple):
    """Where a chain stands: the last record's number and the hash of its line."""

    seq: int = 0
    digest: str = _FIRST_PREV


class Position(NamedTuple):
    """Whose chain, and where it stands."""

    instance: str
    head: Head


def canonical(value: Mapping[str, Any]) -> bytes:
    """RFC 8785 for what records hold: strings, integers below 2^53, booleans, null, and objects of those.

    Member names are ASCII, where UTF-16 order (RFC 8785, section 3.2.3) and orjson's order are one.

    Raises:
        BrokenRecord: A string holds half a surrogate pair: it is no Unicode text and has no UTF-8 form.
    """
    return _dumped(value, option=orjson.OPT_SORT_KEYS)


def require_recordable(members: Mapping[str, Any]) -> None:
    """Find out before the chain is touched, so that one bad event costs nobody else their record.

    Raises:
        BrokenRecord: The members have no JSON form, or one that is longer than any reader accepts.
    """
    # In whichever order: it is as long, and sorting is half of the work.
    if len(_dumped(members)) > RECORD_MAX - _CHAIN_MEMBERS_MAX:
        raise BrokenRecord(f"longer than {RECORD_MAX} bytes")


def link(head: Head, members: Mapping[str, Any], *, signer: Ed25519Signer) -> tuple[bytes, Head]:
    """Put a record behind ``head``: the line (without line feed) and the new head."""
    record = {**members, "seq": head.seq + 1, "prev": head.digest, "kid": signer.kid}
    record["sig"] = signer.sign_detached(canonical(record))
    line = canonical(record)
    return line, Head(seq=head.seq + 1, digest=digest_of(line))


def position_of(line: bytes) -> Position:
    """The position that a line stands for, taken at its word: nothing is checked.

    Raises:
        BrokenRecord: Not a record.
    """
    record = _parse(line)
    return position(record, digest=digest_of(line))


def signed(line: bytes, *, keys: KeySet) -> Mapping[str, Any]:
    """Check what a line shows by itself, its form and its signature, and return the record less the signature.

    Raises:
        BrokenRecord: Any byte of it is not as it was written.
    """
    record = _parse(line)
    if canonical(record) != line:
        raise BrokenRecord("not in canonical form")
    signature, kid = record.pop("sig", None), record.get("kid")
    if not isinstance(signature, str) or not isinstance(kid, str):
        raise BrokenRecord("not signed")
    try:
        keys.verify_detached(signature, kid=kid, payload=canonical(record))
    except BadSignature as error:
        raise BrokenRecord(str(error)) from error
    return record


def follow(record: Mapping[str, Any], *, after: Head, digest: str) -> Head:
    """Check that a record, of which this needs ``seq`` and ``prev``, stands in its place; the head that its line makes.

    Raises:
        BrokenRecord: It belongs elsewhere.
    """
    if record.get("seq") != after.seq + 1:
        raise BrokenRecord(f"expected sequence number {after.seq + 1}, found {record.get('seq')}")
    if record.get("prev") != after.digest:
        raise BrokenRecord("does not follow the record before it")
    return Head(seq=after.seq + 1, digest=digest)


def check(line: bytes, *, after: Head, keys: KeySet) -> tuple[Mapping[str, Any], Head]:
    """Check one line against the head before it.

    Raises:
        BrokenRecord: Any byte of it is not as it was written, or it stands in the wrong place.
    """
    record = signed(line, keys=keys)
    return record, follow(record, after=after, digest=digest_of(line))


def position(members: Mapping[str, Any], *, digest: object) -> Position:
    """The position that a statement's members name.

    Raises:
        BrokenRecord: They name none.
    """
    seq, instance = members.get("seq"), members.get("instance")
    # True is an int to isinstance.
    if type(seq) is not int or not isinstance(digest, str):
        raise BrokenRecord("no sequence number or no digest")
    if not isinstance(instance, str) or not _INSTANCE.fullmatch(instance):
        raise BrokenRecord("no instance")
    return Position(instance=instance, head=Head(seq=seq, digest=digest))


def digest_of(line: bytes) -> str:
    """What the next record's ``prev`` says of a line."""
    return hashlib.sha256(line).hexdigest()


def _dumped(value: Mapping[str, Any], *, option: int = 0) -> bytes:
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError as error:
        raise BrokenRecord(f"not expressible as JSON: {error}") from error


def _parse(line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BrokenRecord("not JSON") from error
    if not isinstance(record, dict):
        raise BrokenRecord("not a JSON object")
    return record
