"""Signed notes and checkpoints: what others wrote opens here, and what we write is what the specifications say."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.chain import BrokenRecord, Head
from broker.audit.checkpoint import Checkpoint, open_checkpoint, origin_of, read_checkpoint, seal_checkpoint
from broker.audit.note import BadNote, Ed25519NoteSigner, Ed25519NoteVerifier, open_note, seal_note, split_note
from broker.audit.signer import jwks_of, signer_of
from broker.audit.tree import Frontier, leaf_hash
from broker.keys.signing import KeySet
from tests.fakes.audit import MASTER

SIGNER, STRANGER = signer_of(MASTER), signer_of(bytes(32))
KEYS = KeySet(jwks=jwks_of(SIGNER))
# The example of the reference implementation (golang.org/x/mod/sumdb/note), with its key `PeterNeumann+c74f20a3+ARpc2Qc...`.
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
GO_KEY = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")


def a_tree(size: int = 5) -> Frontier:
    tree = Frontier()
    for number in range(size):
        tree = tree.with_leaf(leaf_hash(str(number).encode()))
    return tree


def a_checkpoint(**members: object) -> Checkpoint:
    made = Checkpoint(instance="host-1", head=Head(5, "ab" * 32), tree=a_tree(), timestamp="2026-01-31T12:00:00Z")
    return replace(made, **members)  # type: ignore[arg-type]


def ours(name: str = origin_of("host-1")) -> Ed25519NoteSigner:
    return Ed25519NoteSigner(name=name, signer=SIGNER)


def known(name: str = origin_of("host-1")) -> Ed25519NoteVerifier:
    return Ed25519NoteVerifier(name=name, public=SIGNER.public)


def test_a_note_of_the_reference_implementation_opens() -> None:
    verifier = Ed25519NoteVerifier(name="PeterNeumann", public=GO_KEY[1:])
    assert verifier.key_id.hex() == "c74f20a3"
    assert open_note(GO_NOTE, verifiers=[verifier]) == GO_NOTE.partition("\n\n")[0] + "\n"
    with pytest.raises(BadNote, match="signature"):
        open_note(GO_NOTE.replace("answer", "cause"), verifiers=[verifier])


def test_a_checkpoint_begins_as_the_specification_says_and_is_signed_over_its_text() -> None:
    note = seal_checkpoint(a_checkpoint(), signers=[ours()])
    lines = note.split("\n")
    assert lines[:3] == ["zerotrust.audit/host-1", "5", base64.b64encode(a_tree().root()).decode()]
    assert lines[-3:-1] == ["", "— zerotrust.audit/host-1 " + lines[-2].rpartition(" ")[2]]
    signature = base64.b64decode(lines[-2].rpartition(" ")[2])
    text = note.partition("\n\n")[0] + "\n"
    Ed25519PublicKey.from_public_bytes(SIGNER.public).verify(signature[4:], text.encode())


@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize("size", [0, 1, 2, 1_000])
def test_a_checkpoint_comes_back_as_it_was_stated(size: int, *, quiet: bool) -> None:
    stated = a_checkpoint(tree=a_tree(size), head=Head(size, "0" * 64), quiet=quiet)
    assert open_checkpoint(seal_checkpoint(stated, signers=[ours()]), keys=KEYS) == stated


def test_every_single_bit_of_a_checkpoint_counts() -> None:
    note = seal_checkpoint(a_checkpoint(quiet=True), signers=[ours()]).encode()
    for place in range(len(note)):
        for bit in range(8):
            flipped = note[:place] + bytes([note[place] ^ 1 << bit]) + note[place + 1 :]
            with pytest.raises(BrokenRecord):
                open_checkpoint(flipped.decode("utf-8", "replace"), keys=KEYS)


def test_signatures_of_others_are_passed_over_and_never_enough() -> None:
    witness = Ed25519NoteSigner(name="witness.example.com", signer=STRANGER)
    text = seal_note("a text\n", signers=[witness, ours()])
    assert open_note(text, verifiers=[known()]) == "a text\n"
    assert len(split_note(text)[1]) == 2
    for signers in ([witness], [Ed25519NoteSigner(name=origin_of("host-1"), signer=STRANGER)], [ours("another.name")]):
        with pytest.raises(BadNote, match="no key that is known"):
            open_note(seal_note("a text\n", signers=signers), verifiers=[known()])


def test_a_wrong_signature_of_a_known_key_spoils_the_note_whoever_else_signed() -> None:
    witness = Ed25519NoteVerifier(name="witness.example.com", public=STRANGER.public)
    good = seal_note("a text\n", signers=[ours()])
    other = seal_note("b text\n", signers=[Ed25519NoteSigner(name=witness.name, signer=STRANGER)])
    spoilt = good + other.rpartition("\n\n")[2]
    assert open_note(spoilt, verifiers=[known()])
    with pytest.raises(BadNote, match=r"witness.*: the signature"):
        open_note(spoilt, verifiers=[known(), witness])


def test_a_checkpoint_under_the_name_of_another_instance_is_signed_by_nobody() -> None:
    with pytest.raises(BrokenRecord, match="no key that is known"):
        open_checkpoint(seal_checkpoint(a_checkpoint(), signers=[ours(origin_of("host-2"))]), keys=KEYS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("\n5\n", "\n7\n", id="another size"),
        pytest.param("\n5\n", "\n05\n", id="a zero before it"),
        pytest.param("\n5\n", "\n٥\n", id="another script's five"),  # noqa: RUF001  that is the point
        pytest.param("frontier ", "frontier  ", id="a space"),
        pytest.param("head ", "x 1\nhead ", id="another line"),
        pytest.param("host-1", "../host", id="a path"),
    ],
)
def test_what_contradicts_itself_is_no_checkpoint_whoever_signed_it(old: str, new: str) -> None:
    text = seal_checkpoint(a_checkpoint(), signers=[]).partition("\n\n")[0] + "\n"
    with pytest.raises(BrokenRecord, match="damaged"):
        read_checkpoint(seal_note(text.replace(old, new), signers=[ours()]))


@pytest.mark.parametrize("text", ["", "a", "a\n\nb\n", "\n", "\na\n", "a\x00\n", "a\r\n"])
def test_what_is_no_text_of_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(ValueError, match="a note is lines of text"):
        seal_note(text, signers=[ours()])


@given(st.text() | st.text("—\n ab="))
def test_any_text_is_a_note_or_a_bad_one(text: str) -> None:
    with pytest.raises(BadNote):
        open_note(text, verifiers=[known()])
    with pytest.raises(BrokenRecord):
        open_checkpoint(text, keys=KEYS)
