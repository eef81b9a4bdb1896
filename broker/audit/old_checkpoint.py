"""Checkpoints as they were before they were notes: compact JWS that name the chain's head and no tree. Read, never written."""

from __future__ import annotations

import orjson

from broker.audit.chain import BrokenRecord, Position, position
from broker.keys.signing import BadSignature, KeySet

_TYPE = "zerotrust-audit-checkpoint/v1"


def open_old_checkpoint(text: str, *, keys: KeySet) -> Position:
    """The position that a checkpoint states.

    Raises:
        BrokenRecord: Not signed by a key of the set, or not a checkpoint.
    """
    try:
        statement = orjson.loads(keys.verify_compact(text))
    except (BadSignature, orjson.JSONDecodeError) as error:
        raise BrokenRecord(f"a checkpoint is damaged: {error}") from error
    if not isinstance(statement, dict) or statement.get("typ") != _TYPE:
        raise BrokenRecord("signed, but not a checkpoint")
    return position(statement, digest=statement.get("digest"))
