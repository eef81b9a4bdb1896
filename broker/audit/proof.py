"""Proofs for those who have no log: that a record is in it, and that a later log goes on from an earlier one.

A proof is JSON and holds all that it needs but the public keys:

    {"record": LINE, "checkpoint": NOTE, "inclusion": [NODE, ...]}
    {"earlier": NOTE, "checkpoint": NOTE, "consistency": [NODE, ...]}

LINE is the record's line, NOTE a checkpoint, NODE a hash in base64, as RFC 9162 orders them (sections 2.1.3 and 2.1.4).
What makes proofs reads the log and does not judge it; a log that is not what its checkpoint states proves nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from broker.audit.chain import BrokenRecord, position, signed
from broker.audit.checkpoint import Checkpoint, open_checkpoint
from broker.audit.logs import InstanceLog, Report, logs_of
from broker.audit.note import BadNote
from broker.audit.reading import lines
from broker.audit.sinks.notes import last_notes, notes_path
from broker.audit.statement import open_statement
from broker.audit.tree import (
    BadProof,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_ranges,
    leaf_hash,
    roots_of,
)
from broker.keys.signing import KeySet


class NotProved(ValueError):
    """There is nothing to prove it with, or the proof does not show it."""


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof shows: a record of an instance's, or growth from ``earlier`` records, in a log of ``size``."""

    instance: str
    size: int
    timestamp: str
    record: Mapping[str, Any] | None = None
    earlier: int | None = None


def prove_records(roots: Sequence[Path], what: str, *, jwks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A proof for each record that has this sequence number or this request id.

    Raises:
        NotProved: There is none, it is in no checkpoint yet, or the log is not what the checkpoint states.
        OSError: A file cannot be read.
    """
    proofs = []
    for log in logs_of(roots, KeySet(jwks=jwks), Report()):
        found = [(index, line) for index, line in enumerate(_records(log)) if _is(line, index, what)]
        if not found:
            continue
        stated = _last_checkpoint(log)
        if stated is None or stated[0].size <= found[-1][0]:
            raise NotProved(
                f"no checkpoint of {log.instance} states record {found[-1][0] + 1} yet; there is one in a minute"
            )
        proofs += [_proof(log, index, line, *stated) for index, line in found]
    if not proofs:
        raise NotProved(f"no record has the sequence number or the request id {what}")
    return proofs


def prove_growth(roots: Sequence[Path], earlier: str, *, jwks: Mapping[str, Any]) -> dict[str, Any]:
    """The proof that the log of today goes on from a checkpoint that somebody kept.

    Raises:
        NotProved: It does not, or the log or its checkpoint is missing.
        OSError: A file cannot be read.
    """
    old = _opened(earlier, KeySet(jwks=jwks))
    log = next((log for log in logs_of(roots, KeySet(jwks=jwks), Report()) if log.instance == old.instance), None)
    stated = _last_checkpoint(log) if log else None
    if log is None or stated is None:
        raise NotProved(f"no log of {old.instance} with a checkpoint is here")
    new, note = stated
    try:
        since = (leaf_hash(line) for line in islice(_records(log), old.size, new.size))
        nodes = consistency_proof(old.tree, since, size=new.size)
    except ValueError as error:
        raise NotProved(f"the log of {log.instance} does not reach its checkpoints: {error}") from error
    proof = {"earlier": earlier, "checkpoint": note, "consistency": _texts(nodes)}
    check_proof(proof, jwks=jwks)
    return proof


def check_proof(proof: object, *, jwks: Mapping[str, Any]) -> Proved:
    """Check either kind of proof with public keys alone.

    Raises:
        NotProved: It shows nothing.
        UnusableKeySet: The JWKS cannot verify anything.
    """
    keys = KeySet(jwks=jwks)
    match proof:
        case {"record": str(line), "checkpoint": str(note), "inclusion": list(nodes)}:
            return _check_record(line.encode("utf-8", "surrogatepass"), _attested(note, keys), _nodes(nodes), keys)
        case {"earlier": str(earlier), "checkpoint": str(note), "consistency": list(nodes)}:
            return _check_growth(_opened(earlier, keys), _attested(note, keys), _nodes(nodes))
    raise NotProved(
        "not a proof: it has `record`, `checkpoint`, `inclusion`, or `earlier`, `checkpoint`, `consistency`"
    )


def _check_record(line: bytes, stated: Checkpoint, nodes: list[bytes], keys: KeySet) -> Proved:
    try:
        record = signed(line, keys=keys)
        place = position(record, digest="")
        check_inclusion(
            nodes, leaf=leaf_hash(line), index=place.head.seq - 1, size=stated.size, root=stated.tree.root()
        )
    except (BrokenRecord, BadProof) as error:
        raise NotProved(str(error)) from error
    return Proved(stated.instance, stated.size, stated.timestamp, record=record)


def _check_growth(old: Checkpoint, new: Checkpoint, nodes: list[bytes]) -> Proved:
    if old.instance != new.instance:
        raise NotProved(f"checkpoints of {old.instance} and of {new.instance}")
    sizes = {"old_size": old.size, "new_size": new.size}
    try:
        check_consistency(nodes, **sizes, old_root=old.tree.root(), new_root=new.tree.root())
    except BadProof as error:
        raise NotProved(str(error)) from error
    return Proved(new.instance, new.size, new.timestamp, earlier=old.size)


def _proof(log: InstanceLog, index: int, line: bytes, stated: Checkpoint, note: str) -> dict[str, Any]:
    nodes = roots_of(inclusion_ranges(index, stated.size), (leaf_hash(each) for each in _records(log)))
    try:
        check_inclusion(nodes, leaf=leaf_hash(line), index=index, size=stated.size, root=stated.tree.root())
    except BadProof as error:
        raise NotProved(f"the log of {log.instance} is not what its checkpoint states") from error
    return {"record": line.decode(), "checkpoint": note, "inclusion": _texts(nodes)}


def _records(log: InstanceLog) -> Iterator[bytes]:
    return (line[:-1] for path in log.paths for line in lines(path) if line.endswith(b"\n"))


def _is(line: bytes, index: int, what: str) -> bool:
    if what == str(index + 1):
        return True
    # Nearly no line is the one, so nearly none is parsed.
    return what.encode() in line and orjson.loads(line).get("request_id") == what


def _last_checkpoint(log: InstanceLog) -> tuple[Checkpoint, str] | None:
    for note in reversed(last_notes(notes_path(log.last_path.parent, log.instance))):
        _opened(note, log.keys)
        # What was made while an HSM was away proves nothing; an earlier one may.
        with suppress(NotProved):
            return _attested(note, log.keys), note
    return None


def _opened(note: str, keys: KeySet) -> Checkpoint:
    try:
        return open_checkpoint(note, keys=keys)
    except BrokenRecord as error:
        raise NotProved(str(error)) from error


def _attested(note: str, keys: KeySet) -> Checkpoint:
    """With the line of an HSM too, where the keys hold one's."""
    stated = _opened(note, keys)
    try:
        open_statement(note, keys=keys)
    except BadNote as error:
        raise NotProved(str(error)) from error
    return stated


def _texts(nodes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(node).decode() for node in nodes]


def _nodes(texts: Sequence[object]) -> list[bytes]:
    try:
        return [base64.b64decode(str(text), validate=True) for text in texts]
    except (binascii.Error, ValueError) as error:
        raise NotProved("a node is not base64") from error
