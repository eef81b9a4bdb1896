"""Bodies, paths, patterns and documents of secrets: what is accepted can be kept and shown, what is refused is not repeated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from broker import wire_secrets
from broker.core.errors import BadRequest
from broker.core.pattern import UnsafePattern
from broker.core.secret import Secret
from broker.core.secret_path import PathPattern, is_path
from broker.issuing.secret_metadata import policy_of, with_changes
from broker.secrets.encoding import fields_as_bytes, fields_of
from broker.secrets.generate import generate
from broker.secrets.metadata import Details
from broker.secrets.transit import members_of
from broker.secrets.unfit import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")

sentences: set[str] = set()
# There are thirty of them, some with one of ten names of ours.
SENTENCES_MAX = 60


def seeds() -> Iterator[bytes]:
    yield b'{"fields": {"user": "app", "password": "\\u00e4"}, "cas": 0}'
    yield b'{"generate": {"a": {"kind": "text", "length": 24, "classes": ["lower", "symbols"], "readable": true}}}'
    yield b'{"generate": {"a": {"kind": "hex", "length": 32}, "b": {"kind": "uuid"}}, "metadata": {"contact": "ops"}}'
    yield b'{"contact": "a", "purpose": "b", "type": "password", "rotate_every": "90d", "expires": "2030-01-31T12:00:00Z"}'
    yield b'{"expires": "9999-12-31T23:59:59-01:00", "versions_kept": 5, "labels": {"team": "red"}}'
    yield b'{"expires": null, "rotate_every": null}'
    yield b'{"versions": [1, 2, 100]}'
    yield b'{"fields": {"a": "\\ud800"}}'
    yield b'{"fields": {"a": "1", "a": "2"}}'
    yield b'{"outer": {"inner": [1, 2.5, null, true]}}'
    yield b"team-a/db/root"
    yield b"team-a/*/db/**"
    yield b"../x"


def one_input(data: bytes) -> None:
    judge_writing(data)
    described = parsed(wire_secrets.parse_description, data)
    if described is not None:
        judge_described(described)
    numbers = parsed(wire_secrets.parse_versions, data)
    if numbers is not None:
        assert wire_secrets.parse_versions(wire_secrets.versions(numbers)) == numbers
    parsed(wire_secrets.parse_nothing, data)
    document = parsed(members_of, data)
    if document is not None:
        assert document == json.loads(data)
    judge_path(data.decode("utf-8", "surrogateescape"))


def judge_writing(data: bytes) -> None:
    new = parsed(wire_secrets.parse_writing, data)
    if new is None:
        return
    again = wire_secrets.parse_writing(wire_secrets.writing(fields=new.fields, generate=new.generate, cas=new.cas))
    assert (again.fields, again.generate, again.cas) == (new.fields, new.generate, new.cas)
    if new.described is not None:
        judge_described(new.described)
    values = {name: Secret(text) for name, text in new.fields.items()}
    for name, recipe in new.generate.items():
        try:
            values[name] = generate(policy_of(recipe))
        except Unfit:
            return
    try:
        kept = fields_of(fields_as_bytes(values))
    except Unfit as error:
        assert error.reason == "too_large"
    else:
        assert revealed(kept) == revealed(values)


def judge_described(new: wire_secrets.Described) -> None:
    try:
        details = with_changes(new)(Details())
    except (BadRequest, Unfit):
        return
    if details.expires is not None:
        assert details.expires.astimezone().year


def judge_path(text: str) -> None:
    if is_path(text):
        assert text.isascii()
        assert not {"", ".", ".."} & set(text.split("/"))
        assert PathPattern.parse(text).matches(text)
    try:
        pattern = PathPattern.parse(text)
    except UnsafePattern:
        return
    assert str(pattern) == text


def revealed(values: Mapping[str, Secret]) -> dict[str, str]:
    return {name: value.reveal() for name, value in values.items()}


def parsed(parse: Callable[[bytes], T], data: bytes) -> T | None:
    try:
        return parse(data)
    except ValueError as error:
        assert type(error) is ValueError
        sentences.add(str(error))
        assert len(sentences) <= SENTENCES_MAX, sentences
        return None
