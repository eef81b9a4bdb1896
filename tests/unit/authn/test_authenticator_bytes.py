"""The authenticator is found in real tokens and in nothing else; whatever bytes come, the only other answer is AuthFailed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.authn import spnego
from broker.authn.spnego import UnverifiedToken
from broker.core.errors import AuthFailed
from tests.fakes.tokens import authenticator_span, headers, stretched, unwrapped

_VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "authn" / "tokens.json").read_text())
SPNEGO, KERBEROS = (base64.b64decode(_VECTORS[kind]["token"]) for kind in ("spnego", "kerberos"))
AUTHENTICATOR = {kind: base64.b64decode(_VECTORS[kind]["authenticator"]) for kind in ("spnego", "kerberos")}
REAL = st.sampled_from([SPNEGO, KERBEROS])


def found(token: bytes) -> bytes | None:
    """What the reader finds; any other exception than AuthFailed fails the test that called."""
    try:
        return spnego.authenticator(UnverifiedToken(token))
    except AuthFailed:
        return None


def test_a_real_token_has_its_authenticator_wrapped_or_not() -> None:
    assert found(SPNEGO) == AUTHENTICATOR["spnego"]
    assert found(KERBEROS) == AUTHENTICATOR["kerberos"]
    assert found(unwrapped(SPNEGO)) == AUTHENTICATOR["spnego"]


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x60")
@example(b"\x60\x80")
@example(b"\x60\x84\xff\xff\xff\xff")
def test_arbitrary_bytes_hold_no_authenticator(data: bytes) -> None:
    assert found(data) is None


@settings(max_examples=500)
@given(REAL, st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_outside_of_it_give_the_same_one_or_none(token: bytes, changes: list[tuple[int, int]]) -> None:
    altered, span = bytearray(token), authenticator_span(token)
    for place, value in changes:
        if place % len(token) not in span:
            altered[place % len(token)] = value
    answer = found(bytes(altered))
    # A length that was changed may cut the ciphertext off; what is read then is never a longer or a different string.
    assert answer is None or answer == token[span.start : span.stop]


@settings(max_examples=500)
@given(REAL, st.integers(0, 4000), st.integers(0, 4000))
def test_a_token_that_was_cut_holds_none(token: bytes, begin: int, end: int) -> None:
    cut = token[begin % len(token) : end % len(token)]
    assert found(cut) is None


@settings(max_examples=500)
@given(REAL, st.integers(0, 4000), st.binary(min_size=1, max_size=40))
def test_inserted_bytes_never_make_a_second_authenticator(token: bytes, at: int, inserted: bytes) -> None:
    place, span = at % (len(token) + 1), authenticator_span(token)
    answer = found(token[:place] + inserted + token[place:])
    assert answer is None or answer == token[span.start : span.stop]


@settings(max_examples=300)
@given(REAL, REAL, st.integers(0, 4000), st.integers(0, 4000))
@example(KERBEROS, SPNEGO, authenticator_span(KERBEROS).start + 1, authenticator_span(SPNEGO).start + 1)
def test_two_tokens_spliced_hold_one_of_the_two_or_none(one: bytes, other: bytes, left: int, right: int) -> None:
    answer = found(one[: left % len(one)] + other[right % len(other) :])
    # Within both at one place: a ciphertext that nobody's key made, and no acceptor opens.
    place, same_place = (
        at % len(token) - authenticator_span(token).start for token, at in ((one, left), (other, right))
    )
    mixed = found(one)[:place] + found(other)[place:] if place == same_place > 0 else None
    assert answer in {None, mixed, *AUTHENTICATOR.values()}


@pytest.mark.parametrize("token", [SPNEGO, KERBEROS])
def test_a_length_in_a_longer_form_changes_nothing_about_which_one_it_is(token: bytes) -> None:
    variants = list(stretched(token))
    assert len(variants) == len(headers(token))
    span = authenticator_span(token)
    assert {found(variant) for variant in variants} == {token[span.start : span.stop]}


@pytest.mark.parametrize("token", [SPNEGO, KERBEROS])
def test_a_second_element_that_another_reader_could_mean_is_refused(token: bytes) -> None:
    # Behind each enclosing element: a copy of it, as somebody would add who hopes that Kerberos reads the other one.
    for header in headers(token)[1:]:
        copy = token[header.begin : header.end]
        assert found(token[: header.end] + copy + token[header.end :]) is None
    assert found(token + token) is None
