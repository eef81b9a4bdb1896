"""A secret does not show by accident."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from broker.core.secret import Secret

CANARY = "canary-0b5c8a"


def test_no_way_of_printing_shows_it() -> None:
    secret = Secret(CANARY)
    ways = [
        repr(secret),
        str(secret),
        f"{secret} {secret!s:>40} {secret:>40}",
        "%s %r" % (secret, secret),  # noqa: UP031  the old ways of formatting must not show it either
        "{0} {0!r}".format(secret),  # noqa: UP032
        repr([secret]),
        repr({"key": secret}),
        "".join(traceback.format_exception(ValueError(secret))),
    ]
    for shown in ways:
        assert CANARY not in shown
        assert "***" in shown


def test_reveal_is_the_one_way_out() -> None:
    assert Secret(CANARY).reveal() == CANARY
    assert not hasattr(Secret(CANARY), "__dict__")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret(CANARY), protocol)


def test_it_cannot_be_copied_into_json_or_by_copy() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret(CANARY))
    with pytest.raises(TypeError):
        copy.deepcopy(Secret(CANARY))


def test_it_compares_with_its_kind_only() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(CANARY + "x")
    assert Secret(CANARY) != CANARY
    assert Secret("é") == Secret("é")


def test_it_is_nobody_s_dictionary_key() -> None:
    with pytest.raises(TypeError):
        hash(Secret(CANARY))


def test_an_empty_secret_is_false() -> None:
    assert not Secret("")
    assert Secret("0")
