"""A packet for a review: what happened by one time box, whole and signed, to be read without the log it is from.

The records are the log's own lines, so each is still signed by itself; the signature around them says that they are all that this
instance's log had. What other instances handed out is in theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from broker.audit.chain import canonical
from broker.audit.reading import lines, notes, record_files
from broker.keys.signing import Ed25519Signer

_TYPE = "zerotrust-review/v1"
# Records of one box: an hour of a program that asks every second.
_RECORDS_MAX = 5_000


def sealed_packet(
    request: Mapping[str, Any], *, directory: Path, since: datetime, made_at: str, signer: Ed25519Signer
) -> bytes:
    """JSON: ``packet``, and ``sig``, a detached JWS over the packet in canonical form.

    Args:
        request: What is known of the box; its ``id`` is the ``elevation`` of records.
        directory: Of the records.
        since: No file that ended before can hold any.
        made_at: The time, as text.
        signer: The key of the records.

    Raises:
        OSError: The records cannot be read.
    """
    records: list[str] = []
    for line in _naming(request["id"], directory, since):
        if len(records) == _RECORDS_MAX:
            break
        records.append(line)
    packet = {
        "typ": _TYPE,
        "made_at": made_at,
        "request": dict(request),
        "records": records,
        "complete": len(records) < _RECORDS_MAX,
        "checkpoints": _checkpoints(directory, since),
    }
    sealed = {"packet": packet, "kid": signer.kid, "sig": signer.sign_detached(canonical(packet))}
    return orjson.dumps(sealed, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def _naming(identifier: str, directory: Path, since: datetime) -> Iterator[str]:
    mark = orjson.dumps(identifier)
    for path in record_files(directory):
        if path.stat().st_mtime < since.timestamp():
            continue
        for line in lines(path):
            if mark in line and _elevation(line) == identifier:
                yield line.decode().removesuffix("\n")


def _elevation(line: bytes) -> object:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record.get("elevation") if isinstance(record, dict) else None


def _checkpoints(directory: Path, since: datetime) -> dict[str, str]:
    """The last checkpoint of each log there: where it stood when this was made, signed."""
    found: dict[str, str] = {}
    for path in sorted(directory.glob("checkpoints-*.notes")):
        if path.stat().st_mtime >= since.timestamp():
            whole = [note for note, is_whole in notes(path) if is_whole]
            found |= {path.name: whole[-1].decode("utf-8", "replace")} if whole else {}
    return found
