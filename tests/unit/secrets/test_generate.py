"""New secrets: what the policy says, no more likely than any other, and never too few of them."""

from __future__ import annotations

import base64
import itertools
import math
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.secrets.generate import _CLASSES, ENTROPY_MIN, LOOK_ALIKES, Policy, generate
from broker.secrets.unfit import Unfit

policies = st.builds(
    Policy,
    length=st.integers(14, 64),
    classes=st.lists(st.sampled_from(sorted(_CLASSES)), min_size=2, unique=True).map(tuple),
    readable=st.booleans(),
)


@given(policies)
def test_a_text_has_the_length_and_something_of_each_class_and_nothing_else(policy: Policy) -> None:
    if policy.entropy < ENTROPY_MIN:
        return
    text = generate(policy).reveal()
    assert len(text) == policy.length
    assert all(set(text) & set(_CLASSES[name]) for name in policy.classes)
    assert set(text) <= set("".join(_CLASSES[name] for name in policy.classes))
    assert not policy.readable or not set(text) & LOOK_ALIKES


@given(st.integers(1, 5), st.sets(st.sampled_from("abcd1234-_"), min_size=1, max_size=5))
def test_the_entropy_of_an_alphabet_is_the_logarithm_of_its_texts(length: int, alphabet: set[str]) -> None:
    policy = Policy(length=length, alphabet="".join(sorted(alphabet)))
    assert math.isclose(policy.entropy, length * math.log2(len(alphabet)))


def test_the_entropy_counts_exactly_the_texts_with_something_of_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_CLASSES, "lower", "ab")
    monkeypatch.setitem(_CLASSES, "digits", "123")
    texts = ["".join(text) for text in itertools.product("ab123", repeat=4)]
    allowed = [text for text in texts if set(text) & set("ab") and set(text) & set("123")]
    assert math.isclose(Policy(length=4, classes=("lower", "digits")).entropy, math.log2(len(allowed)))


@given(policies)
def test_no_two_are_alike(policy: Policy) -> None:
    if policy.entropy >= ENTROPY_MIN:
        assert generate(policy).reveal() != generate(policy).reveal()


def test_bytes_and_uuids_have_the_form_that_other_programs_read() -> None:
    assert len(bytes.fromhex(generate(Policy(kind="hex", length=32)).reveal())) == 32
    assert len(base64.urlsafe_b64decode(generate(Policy(kind="base64", length=32)).reveal() + "=")) == 32
    made = uuid.UUID(generate(Policy(kind="uuid")).reveal())
    assert (made.version, made.variant) == (4, uuid.RFC_4122)


@pytest.mark.parametrize(
    "policy",
    [
        Policy(length=13, classes=("lower", "upper", "digits")),
        Policy(kind="hex", length=9),
        Policy(length=0),
        Policy(length=5000),
        Policy(classes=()),
        Policy(classes=("runes",)),
        Policy(alphabet="0O", readable=True),
        Policy(alphabet="äöü"),
        Policy(alphabet="a" * 64),
        Policy(alphabet="ab\n"),
    ],
)
def test_a_policy_that_leaves_too_little_to_chance_is_refused_with_the_fix(policy: Policy) -> None:
    with pytest.raises(Unfit, match="fix: give "):
        generate(policy)
