"""The shapes of secrets are read strictly, and what was sent is never quoted back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import wire_secrets

CANARY = "canary-9d1f"
RECIPE = wire_secrets.Recipe(kind="text", length=24, classes=("lower", "digits"), readable=True)


def parsed(body: object) -> wire_secrets.Writing:
    return wire_secrets.parse_writing(json.dumps(body).encode())


def test_a_whole_body_is_read_as_it_was_written() -> None:
    body = {
        "fields": {"username": "app", "note": "ä\n\u0000\U0001f511"},
        "generate": {"password": {"kind": "text", "length": 24, "classes": ["lower", "digits"], "readable": True}},
        "cas": 3,
        "metadata": {"contact": "db@example.com", "rotate_every": "90d", "expires": None, "labels": {"tier": "1"}},
    }
    found = parsed(body)
    assert (found.fields, found.generate, found.cas) == (body["fields"], {"password": RECIPE}, 3)
    assert found.described is not None
    assert found.described.given == {"contact", "rotate_every", "expires", "labels"}
    assert (found.described.rotate_every, found.described.expires) == (90 * 86_400, None)


@given(st.dictionaries(st.from_regex(r"[A-Za-z0-9_.@-]{1,9}", fullmatch=True), st.text(), min_size=1, max_size=4))
def test_what_is_written_is_what_is_read(fields: dict[str, str]) -> None:
    written = parsed(json.loads(wire_secrets.writing(fields=fields, generate={})))
    assert written.fields == fields


def test_a_recipe_is_read_as_it_was_written() -> None:
    assert parsed(json.loads(wire_secrets.writing(fields={}, generate={"a": RECIPE}))).generate == {"a": RECIPE}
    assert parsed({"generate": {"a": {}}}).generate == {"a": wire_secrets.Recipe()}


REFUSED: list[Any] = [
    {},
    {"fields": {}},
    {"fields": {"a": 7}},
    {"fields": {"a": None}},
    {"fields": {"a": ["x"]}},
    {"fields": {"a": {"b": "x"}}},
    {"fields": [["a", "x"]]},
    {"fields": "x"},
    {"fields": {"": "x"}},
    {"fields": {"a/b": "x"}},
    {"fields": {"ä": "x"}},
    {"fields": {"a" * 129: "x"}},
    {"fields": {str(number): "x" for number in range(65)}},
    {"fields": {"a": "x"}, "generate": {"a": {}}},
    {"generate": {"a": "text:32"}},
    {"generate": {"a": {"kind": "password"}}},
    {"generate": {"a": {"length": "32"}}},
    {"generate": {"a": {"classes": ["lower", "all"]}}},
    {"generate": {"a": {"classes": "lower"}}},
    {"generate": {"a": {"readable": 1}}},
    {"generate": {"a": {"seed": 1}}},
    {"fields": {"a": "\ud800"}},
    {"fields": {"a": "x"}, "cas": "1"},
    {"fields": {"a": "x"}, "cas": True},
    {"fields": {"a": "x"}, "cas": -1},
    {"fields": {"a": "x"}, "cas": 1.0},
    {"fields": {"a": "x"}, "cas": None},
    {"fields": {"a": "x"}, "path": "b"},
    {"fields": {"a": "x"}, "metadata": {}},
    {"fields": {"a": "x"}, "metadata": {"owner": "x"}},
    {"fields": {"a": "x"}, "metadata": {"contact": "a\nb"}},
    {"fields": {"a": "x"}, "metadata": {"rotate_every": 90}},
    {"fields": {"a": "x"}, "metadata": {"labels": {"a b": "x"}}},
    ["fields"],
]


@pytest.mark.parametrize("body", REFUSED, ids=ascii)
def test_anything_else_is_refused(body: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parsed(body)


@pytest.mark.parametrize(
    "text",
    [
        b'{"fields":{"a":"x","a":"y"}}',
        b'{"fields":{"a":"x"},"fields":{"b":"x"}}',
        b'{"fields":{"a":"\xff"}}',
        b"not JSON",
        b"",
        b'{"fields":{"a":"x"}}' + b" " * wire_secrets.BODY_MAX,
        b'{"fields":' + b"[" * 100_000,
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_what_two_readers_could_read_differently_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wire_secrets.parse_writing(text)


@pytest.mark.parametrize(
    "body", [*REFUSED, {"fields": {CANARY: 1}}, {"fields": {"a": 1, "b": CANARY}}, {CANARY: CANARY}], ids=ascii
)
def test_no_fault_quotes_what_was_sent(body: object) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        parsed(body)
    assert CANARY not in str(caught.value)


def test_values_are_in_no_repr() -> None:
    assert CANARY not in repr(parsed({"fields": {"a": CANARY}}))


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (wire_secrets.parse_versions, b'{"versions":[]}'),
        (wire_secrets.parse_versions, b'{"versions":["1"]}'),
        (wire_secrets.parse_versions, b'{"versions":[true]}'),
        (wire_secrets.parse_versions, b'{"versions":{"1":1}}'),
        (wire_secrets.parse_versions, b"{}"),
        (wire_secrets.parse_description, b"{}"),
        (wire_secrets.parse_description, b'{"type":7}'),
        (wire_secrets.parse_nothing, b'{"x":1}'),
    ],
)
def test_what_stands_behind_a_colon_is_read_as_strictly(parse: Callable[[bytes], object], text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


def test_no_versions_are_the_newest() -> None:
    assert wire_secrets.parse_versions(b"") is None
    assert wire_secrets.parse_versions(wire_secrets.versions([2, 3])) == (2, 3)
