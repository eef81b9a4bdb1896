"""A secret's fields as one text, and back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.core.secret import Secret
from broker.secrets.one_text import fields_of, text_of

texts = st.text(st.characters(codec="utf-8"), max_size=20)


def shown(fields: dict[str, Secret]) -> dict[str, str]:
    return {name: secret.reveal() for name, secret in fields.items()}


@given(st.dictionaries(texts, texts, min_size=1, max_size=4))
@example({"value": '{"value":"x"}'})
@example({"value": '{"a":"b"}'})
@example({"value": "{}"})
@example({"value": "[" * 100_000})
def test_every_secret_comes_back_as_it_was(fields: dict[str, str]) -> None:
    text = text_of({name: Secret(value) for name, value in fields.items()})
    assert shown(fields_of(text)) == fields


@given(texts)
@example('{"a":"b"}')
def test_what_others_wrote_is_read_and_written_without_losing_anything(text: str) -> None:
    fields = fields_of(Secret(text))
    assert fields_of(text_of(fields)) == fields


def test_the_form_of_aws_s_own_tools_is_read_as_fields() -> None:
    assert shown(fields_of(Secret('{"username": "app", "password": "p"}'))) == {"username": "app", "password": "p"}


@pytest.mark.parametrize(
    "text", ["plain", "", "{}", "[]", '"a"', '{"port": 5432}', '{"a":"1","a":"2"}', '{"a":{"b":"c"}}']
)
def test_what_is_no_object_of_strings_is_one_value(text: str) -> None:
    assert shown(fields_of(Secret(text))) == {"value": text}
