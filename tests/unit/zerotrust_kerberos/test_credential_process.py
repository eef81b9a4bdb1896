"""The broker's body on its way to the line that SDKs read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import wire
from zerotrust_kerberos.credential_process import flat_object, process_line
from zerotrust_kerberos.failures import Failure

GIVEN = {
    "access_key_id": "ASIAEXAMPLEEXAMPLE00",
    "secret_access_key": "secret/+=",
    "session_token": "token/+==",
    "expiration": "2037-01-01T00:00:00Z",
    "account": "111122223333",
    "role_arn": 'arn:aws:iam::111122223333:role/odd"path\\/R',
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def test_what_the_broker_writes_is_read_without_a_json_parser() -> None:
    body = wire.credentials_body(**{**GIVEN, "role_arn": "arn:aws:iam::111122223333:role/R"})
    assert flat_object(body.decode()) == json.loads(body)


def test_a_role_whose_path_json_escapes_is_read_as_well() -> None:
    body = wire.credentials_body(**GIVEN)
    assert flat_object(body.decode()) is None
    assert json.loads(process_line(body))["SecretAccessKey"] == "secret/+="


@given(st.dictionaries(st.text(), st.text() | st.integers(0, 12) | json_values), st.sampled_from([None, 1]))
def test_the_quick_reader_reads_an_object_as_json_does_or_not_at_all(
    members: dict[str, object], indent: int | None
) -> None:
    text = json.dumps(members, indent=indent)
    found = flat_object(text)
    assert found is None or found == members


@given(st.text(alphabet='{}:,"[] 01a\\\n', max_size=24))
def test_the_quick_reader_takes_nothing_that_is_not_json(text: str) -> None:
    found = flat_object(text)
    if found is not None:
        assert found == json.loads(text)


@pytest.mark.parametrize("text", ['{"a":"b","a":"c"}', '{"a":01,"b":"c"}', '{"a":"b",}', '{"a":"b"}x', "{}", ""])
def test_the_quick_reader_leaves_odd_texts_alone(text: str) -> None:
    assert flat_object(text) is None


@given(st.binary(max_size=64) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_other_body_is_an_unexpected_answer(body: bytes) -> None:
    with pytest.raises(Failure) as raised:
        process_line(body)
    assert raised.value.code == "unexpected_answer"


def test_the_account_may_be_missing() -> None:
    members = json.loads(wire.credentials_body(**GIVEN))
    del members["AccountId"]
    assert set(json.loads(process_line(json.dumps(members).encode()))) == {
        "Version",
        "AccessKeyId",
        "SecretAccessKey",
        "SessionToken",
        "Expiration",
    }
