"""A witness signs for what goes on from what it saw, and for nothing else; what it saw it never forgets."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.audit.cosignature import BadWitnessKey, Cosigner, WitnessKey
from broker.audit.note import BadNote, Ed25519NoteSigner, Signature, open_note, seal_note
from broker.audit.signer import jwks_of, signer_of
from broker.audit.statement import Statement
from broker.audit.tree import Frontier, consistency_proof, leaf_hash
from broker.audit.witness import DamagedState, Refused, Witness, request_of
from broker.keys.signing import Ed25519Signer
from tests.fakes.audit import MASTER, SetClock

ORIGIN = "zerotrust.audit/host-1"
COSIGNER = Cosigner(name="witness.example.com/w1", signer=Ed25519Signer(seed=b"w" * 32))


@dataclass
class Grown:
    """A log of leaves, its statements and proofs."""

    leaves: list[bytes] = field(default_factory=list)
    signer: Ed25519Signer = field(default_factory=lambda: signer_of(MASTER))
    origin: str = ORIGIN

    def to(self, size: int, *, leaf: str = "record") -> Grown:
        self.leaves += [leaf_hash(f"{leaf} {number}".encode()) for number in range(len(self.leaves), size)]
        return self

    def tree(self, size: int) -> Frontier:
        tree = Frontier()
        for leaf in self.leaves[:size]:
            tree = tree.with_leaf(leaf)
        return tree

    def note(self, size: int) -> str:
        root = base64.b64encode(self.tree(size).root()).decode()
        return seal_note(
            f"{self.origin}\n{size}\n{root}\n", signers=[Ed25519NoteSigner(name=self.origin, signer=self.signer)]
        )

    def request(self, old: int, new: int) -> bytes:
        proof = consistency_proof(self.tree(old), self.leaves[old:], size=new) if 0 < old < new else []
        return request_of(old=old, proof=proof, note=self.note(new))


@pytest.fixture
def made(tmp_path: Path) -> Callable[[], Witness]:
    jwks = jwks_of(signer_of(MASTER))
    return lambda: Witness(directory=tmp_path / "state", cosigner=COSIGNER, jwks=lambda: jwks, clock=SetClock())


@pytest.fixture
def witness(made: Callable[[], Witness]) -> Witness:
    return made()


def refusal(witness: Witness, body: bytes) -> tuple[int, int | None]:
    with pytest.raises(Refused) as refused:
        witness.add(body)
    return refused.value.status, refused.value.size


def test_it_signs_for_a_log_that_grows_and_its_line_verifies_on_the_note(witness: Witness) -> None:
    log, seen = Grown().to(100), 0
    for size in (1, 2, 3, 7, 8, 64, 65, 100, 100):
        line = witness.add(log.request(seen, size))
        assert Statement.of(open_note(log.note(size) + line, verifiers=[COSIGNER.key])).size == size
        seen = size


def test_an_older_size_than_it_saw_is_stale_and_it_says_which_it_saw(witness: Witness) -> None:
    log = Grown().to(20)
    witness.add(log.request(0, 12))
    for old, new in ((0, 5), (0, 12), (0, 20), (5, 20), (13, 20)):
        assert refusal(witness, log.request(old, new)) == (409, 12)
    # An old size that is right, with a checkpoint that goes back behind it.
    assert refusal(witness, request_of(old=12, proof=[], note=log.note(5))) == (400, None)
    witness.add(log.request(12, 20))


def test_a_log_written_anew_with_the_real_key_is_not_signed_for(witness: Witness) -> None:
    witness.add(Grown().to(12).request(0, 12))
    forged = Grown().to(8).to(20, leaf="forged")
    assert refusal(witness, forged.request(12, 20)) == (422, None)
    assert refusal(witness, forged.request(12, 12)) == (409, 12)
    honest = Grown().to(20)
    proof = consistency_proof(honest.tree(12), honest.leaves[12:], size=20)
    for bent in ([], proof[:-1], [*proof, proof[0]], proof[::-1]):
        assert refusal(witness, request_of(old=12, proof=bent, note=honest.note(20))) == (422, None)
    witness.add(honest.request(12, 20))


def test_who_has_another_key_or_bends_the_note_is_forbidden(witness: Witness) -> None:
    assert refusal(witness, Grown(signer=signer_of(b"x" * 32)).to(3).request(0, 3))[0] == 403
    request = Grown().to(3).request(0, 3)
    assert refusal(witness, request.replace(b"\n3\n", b"\n4\n"))[0] == 403
    assert list(witness.path_of(ORIGIN).parent.glob("*.note")) == []


def test_a_line_in_the_witness_s_own_name_that_somebody_slipped_under_a_checkpoint_stops_nothing(
    witness: Witness,
) -> None:
    """The way to a witness is plain HTTP: whoever sits there can add a line, or send an old checkpoint again with one."""
    log = Grown().to(20)
    witness.add(log.request(0, 12))
    forged = Signature(COSIGNER.key.name, COSIGNER.key.key_id, b"x" * 72)
    witness.add(log.request(12, 12) + str(forged).encode())
    line = witness.add(log.request(12, 20))
    assert Statement.of(open_note(log.note(20) + line, verifiers=[COSIGNER.key])).size == 20


def test_a_proof_where_there_is_nothing_to_prove_is_refused(witness: Witness) -> None:
    assert refusal(witness, request_of(old=0, proof=[b"0" * 32], note=Grown().to(3).note(3)))[0] == 422


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 00\n\nx",
        b"old -1\n\nx",
        b"new 0\n\nx",
        b"old 0\nAAAA\n\nx",
        b"old 0\n!\n\nx",
        b"old 0\n\n\xff",
        b"old 1" + b"\n" + b"A" * 43 + b"=" + (b"\n" + b"A" * 43 + b"=") * 63 + b"\n\nx",
    ],
)
def test_what_is_no_request_is_a_400(witness: Witness, body: bytes) -> None:
    assert refusal(witness, body) == (400, None)


def test_each_log_has_a_place_of_its_own(witness: Witness) -> None:
    one, other = Grown().to(9), Grown(origin="zerotrust.audit/host-2").to(4)
    witness.add(one.request(0, 9))
    witness.add(other.request(0, 4))
    assert refusal(witness, other.request(0, 4)) == (409, 4)


def test_what_it_saw_is_there_after_a_restart(witness: Witness, made: Callable[[], Witness]) -> None:
    log = Grown().to(20)
    witness.add(log.request(0, 12))
    with pytest.raises(BlockingIOError):
        made()
    witness.close()
    again = made()
    assert refusal(again, log.request(0, 5)) == (409, 12)
    again.add(log.request(12, 20))
    again.close()


def test_it_signs_nothing_that_it_could_not_remember(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Grown().to(20)
    witness.add(log.request(0, 12))

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            witness.add(log.request(12, 20))
    assert refusal(witness, log.request(20, 20)) == (409, 12)


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\xff\xff", None])
def test_a_damaged_memory_is_no_empty_one(witness: Witness, damage: bytes | None) -> None:
    log = Grown().to(20)
    witness.add(log.request(0, 12))
    path = witness.path_of(ORIGIN)
    # None: set back by hand, with everything but the witness's own signature.
    path.write_bytes(log.note(5).encode() if damage is None else damage)
    for body in (log.request(0, 20), log.request(12, 20), log.request(5, 20)):
        with pytest.raises(DamagedState):
            witness.add(body)


def test_its_key_is_one_word_that_is_read_back_exactly() -> None:
    word = str(COSIGNER.key)
    assert word.startswith("witness.example.com/w1+")
    assert WitnessKey.parse(word).key_id == COSIGNER.key.key_id
    name, key_id, key = word.split("+", 2)
    for bent in (
        f"other+{key_id}+{key}",
        f"{name}+00000000+{key}",
        f"{name}+{key_id}+{key[:-4]}",
        name,
        "",
        f"{word}\n",
    ):
        with pytest.raises(BadWitnessKey):
            WitnessKey.parse(bent)


def test_a_cosignature_of_another_time_note_or_witness_does_not_verify() -> None:
    note = Grown().to(3).note(3)
    text = note.partition("\n\n")[0] + "\n"
    line = COSIGNER.cosign(text, moment=1_700_000_000)
    open_note(note + line, verifiers=[COSIGNER.key])
    other = Cosigner(name=COSIGNER.key.name, signer=Ed25519Signer(seed=b"o" * 32))
    with pytest.raises(BadNote):
        open_note(note + other.cosign(text, moment=1_700_000_000), verifiers=[COSIGNER.key])
    value = bytearray(base64.b64decode(line.split(" ")[2]))
    value[4 + 7] ^= 1
    bent = line.rpartition(" ")[0] + " " + base64.b64encode(bytes(value)).decode() + "\n"
    with pytest.raises(BadNote, match="does not match"):
        open_note(note + bent, verifiers=[COSIGNER.key])
