"""A sealed blob opens for the same keyring and the same context, and for nothing else in the world."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.keys.envelope import CannotOpen, Envelope

OLD, NEW, FOREIGN = bytes(32), bytes(range(32)), b"\xff" * 32
ENVELOPE = Envelope(keys=[NEW, OLD])


@given(plaintext=st.binary(), context=st.binary())
def test_what_was_sealed_opens_again(plaintext: bytes, context: bytes) -> None:
    assert ENVELOPE.open(ENVELOPE.seal(plaintext, context=context), context=context) == plaintext


@given(plaintext=st.binary(min_size=1), context=st.binary(), data=st.data())
def test_any_single_bit_that_changed_is_noticed(plaintext: bytes, context: bytes, data: st.DataObject) -> None:
    sealed = bytearray(ENVELOPE.seal(plaintext, context=context))
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << place % 8
    with pytest.raises(CannotOpen):
        ENVELOPE.open(bytes(sealed), context=context)


def test_every_single_bit_of_one_blob_is_noticed() -> None:
    sealed = ENVELOPE.seal(b"a credential", context=b"alice")
    for place in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(CannotOpen):
            ENVELOPE.open(bytes(flipped), context=b"alice")


@given(one=st.binary(), other=st.binary())
def test_no_other_context_opens_it(one: bytes, other: bytes) -> None:
    sealed = ENVELOPE.seal(b"a credential", context=one)
    if one != other:
        with pytest.raises(CannotOpen, match="altered"):
            ENVELOPE.open(sealed, context=other)


def test_no_shortened_or_lengthened_blob_opens() -> None:
    sealed = ENVELOPE.seal(b"", context=b"")
    for length in range(len(sealed)):
        with pytest.raises(CannotOpen):
            ENVELOPE.open(sealed[:length], context=b"")
    with pytest.raises(CannotOpen):
        ENVELOPE.open(sealed + b"\0", context=b"")


@given(st.binary())
def test_arbitrary_bytes_cannot_be_opened_and_nothing_worse(blob: bytes) -> None:
    with pytest.raises(CannotOpen):
        ENVELOPE.open(blob, context=b"")


def test_the_newest_key_seals_and_every_key_opens() -> None:
    before_rotation, after = Envelope(keys=[OLD]), Envelope(keys=[NEW])
    assert ENVELOPE.open(before_rotation.seal(b"old", context=b""), context=b"") == b"old"
    assert after.open(ENVELOPE.seal(b"new", context=b""), context=b"") == b"new"
    with pytest.raises(CannotOpen, match="unknown_key"):
        before_rotation.open(ENVELOPE.seal(b"new", context=b""), context=b"")


def test_a_blob_of_a_foreign_key_says_so_and_cannot_be_relabelled_as_ours() -> None:
    foreign = Envelope(keys=[FOREIGN]).seal(b"x", context=b"")
    with pytest.raises(CannotOpen) as caught:
        ENVELOPE.open(foreign, context=b"")
    assert caught.value.reason == "unknown_key"
    ours = ENVELOPE.seal(b"x", context=b"")
    with pytest.raises(CannotOpen, match="altered"):
        ENVELOPE.open(ours[:9] + foreign[9:], context=b"")


def test_the_same_text_is_never_sealed_alike() -> None:
    assert len({ENVELOPE.seal(b"same", context=b"same") for _ in range(1000)}) == 1000


@pytest.mark.parametrize("keys", [[], [b"short"], [b"x" * 16], [b"x" * 24], [NEW, b"x" * 33]])
def test_unusable_keys_make_no_envelope(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match=r"needs a key|has 32 bytes"):
        Envelope(keys=keys)
