"""What a witness is asked: a signature for what goes on from what it saw, or a refusal with a status of the specification."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from broker.audit.cosignature import Cosigner
from broker.audit.note import Ed25519NoteSigner, open_note, seal_note
from broker.audit.signer import jwks_of, signer_of
from broker.audit.statement import Statement
from broker.audit.tree import Frontier, consistency_proof, leaf_hash
from broker.audit.witness import Refused, Witness, request_of
from broker.keys.signing import Ed25519Signer
from tests.fuzz import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = signer_of(bytes(32))
ORIGIN = "zerotrust.audit/host-1"
COSIGNER = Cosigner(name="witness.example.com/w1", signer=Ed25519Signer(seed=b"w" * 32))
LEAVES = [leaf_hash(b"%d" % number) for number in range(9)]
STATUSES = {400, 403, 404, 409, 422}
FOLDER = scratch.folder()


class _Still:
    def now(self) -> datetime:
        return datetime(2026, 1, 31, tzinfo=UTC)

    def boottime(self) -> float:
        return 0.0


def tree(size: int) -> Frontier:
    found = Frontier()
    for leaf in LEAVES[:size]:
        found = found.with_leaf(leaf)
    return found


def note(size: int) -> str:
    root = base64.b64encode(tree(size).root()).decode()
    return seal_note(f"{ORIGIN}\n{size}\n{root}\n", signers=[Ed25519NoteSigner(name=ORIGIN, signer=LOG)])


def asked(old: int, new: int) -> bytes:
    proof = consistency_proof(tree(old), LEAVES[old:], size=new) if 0 < old < new else []
    return request_of(old=old, proof=proof, note=note(new))


WITNESS = Witness(directory=FOLDER / "witness", cosigner=COSIGNER, jwks=lambda: jwks_of(LOG), clock=_Still())
WITNESS.add(asked(0, 5))
SEEN = WITNESS.path_of(ORIGIN).read_bytes()
NOTES = {size: note(size).partition("\n\n")[0] for size in range(5, len(LEAVES) + 1)}


def seeds() -> Iterator[bytes]:
    yield asked(5, 9)
    yield asked(5, 5)
    yield asked(3, 9)
    yield asked(0, 9)
    yield request_of(old=5, proof=[b"x" * 32], note=note(9))
    yield request_of(old=5, proof=[], note=note(9) + note(5).partition("\n\n")[2])
    yield b"old 5\n\n"
    yield b"old 99999999999999999999\n\n" + note(5).encode()


def one_input(data: bytes) -> None:
    WITNESS.path_of(ORIGIN).write_bytes(SEEN)
    try:
        line = WITNESS.add(data)
    except Refused as refusal:
        assert refusal.status in STATUSES
        assert WITNESS.path_of(ORIGIN).read_bytes() == SEEN, "a refusal changes nothing"
        return
    text = open_note(WITNESS.path_of(ORIGIN).read_text(), verifiers=[COSIGNER.key])
    assert text.rstrip("\n") in NOTES.values(), "signed for what no log of ours says"
    assert Statement.of(text).size >= 5
    assert line.startswith("\N{EM DASH} witness.example.com/w1 ")
