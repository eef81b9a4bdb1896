"""The shapes that client and broker share."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import wire


def test_a_role_and_one_of_its_scopes_are_all_that_a_request_holds() -> None:
    wanted = wire.CredentialsRequest(role="developer", scope="readonly")
    assert wire.parse_credentials_request(b'{"scope": "readonly", "role": "developer"}') == wanted
    assert wire.parse_credentials_request(b' {"role": "developer"}\n') == wire.CredentialsRequest(role="developer")
    assert wire.parse_credentials_request(b'{"role": "\\u0064ev"}').role == "dev"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is not JSON."),
        (b"role=developer", "The body is not JSON."),
        (b'{"role":"a"', "The body is not JSON."),
        (b'{"role":"a"} x', "The body is not JSON."),
        (b"\xff", "The body is not UTF-8."),
        ('{"role":"a"}'.encode("utf-16"), "The body is not UTF-8."),
        (b'\xef\xbb\xbf{"role":"a"}', "The body is not JSON."),
        (b"[" * 4000, "The body is nested too deeply."),
        (b" " * 5000, "The body is longer than 4096 bytes."),
        (b'"role"', "The body is not a JSON object."),
        (b"[]", "The body is not a JSON object."),
        (b'[["role","a"]]', "The body is not a JSON object."),
        (b"{}", 'The member "role" is missing.'),
        (b'{"role":"a","role":"b"}', "A member is given twice."),
        (b'{"role":"a","duration":900}', "Only the members role, scope, reason are understood."),
        (b'{"role":"a","external_id":"x"}', "Only the members role, scope, reason are understood."),
        (b'{"Role":"a"}', "Only the members role, scope, reason are understood."),
        (b'{"role":1}', '"role" must be a string.'),
        (b'{"role":null}', '"role" must be a string.'),
        (b'{"role":{"role":"a"}}', '"role" must be a string.'),
        (b'{"role":""}', '"role" must be 1 to 64 printable ASCII characters.'),
        (b'{"role":"\\ud800"}', '"role" must be 1 to 64 printable ASCII characters.'),
        (b'{"role":"a\\u0000"}', '"role" must be 1 to 64 printable ASCII characters.'),
        (b'{"role":"%s"}' % (b"a" * 65), '"role" must be 1 to 64 printable ASCII characters.'),
        (b'{"scope":"readonly"}', 'The member "role" is missing.'),
        (b'{"role":"a","scope":null}', '"scope" must be a string.'),
        (b'{"role":"a","scope":""}', '"scope" must be 1 to 64 printable ASCII characters.'),
        (b'{"role":"a","scope":"b","scope":"c"}', "A member is given twice."),
        (b'{"role":"a","policy":"{}"}', "Only the members role, scope, reason are understood."),
        (b'{"role":"a","tags":{}}', "Only the members role, scope, reason are understood."),
    ],
)
def test_anything_else_is_refused_with_a_sentence(body: bytes, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  the whole text is compared
        wire.parse_credentials_request(body)
    assert str(raised.value) == sentence


@given(
    st.binary(max_size=64)
    | st.dictionaries(st.sampled_from(["role", "scope"]), st.text(max_size=64)).map(
        lambda said: json.dumps(said).encode()
    )
)
def test_reading_a_request_ends_in_a_role_and_a_scope_or_a_value_error(body: bytes) -> None:
    try:
        wanted = wire.parse_credentials_request(body)
    except ValueError:
        return
    scope = {} if wanted.scope is None else {"scope": wanted.scope}
    assert json.loads(body) == {"role": wanted.role, **scope}


def test_a_job_pass_is_asked_for_by_role_networks_and_lifetime() -> None:
    wanted = wire.parse_pass_request(b'{"role":"dev","networks":["10.0.0.0/8"],"lifetime":"8h"}')
    assert (wanted.role, wanted.networks, wanted.lifetime) == ("dev", ("10.0.0.0/8",), 28_800)
    wanted = wire.parse_pass_request(b'{"role":"dev"}')
    assert (wanted.networks, wanted.lifetime) == (None, None)
    assert wire.parse_attenuation(b'{"lifetime":"2d"}').lifetime == 172_800
    assert wire.parse_attenuation(b'{"networks":["::1"]}').networks == ("::1",)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{}", 'The member "role" is missing.'),
        (b"[]", "The body is not a JSON object."),
        (b'{"role":"a","role":"b"}', "A member is given twice."),
        (b'{"role":"a","end":"x"}', "Only the members role, networks, lifetime are understood."),
        (b'{"role":1}', '"role" must be a string.'),
        (b'{"role":"a","networks":[]}', '"networks" must be a list of 1 to 16 networks.'),
        (b'{"role":"a","networks":{}}', '"networks" must be a list of 1 to 16 networks.'),
        (b'{"role":"a","networks":null}', '"networks" must be a list of 1 to 16 networks.'),
        (b'{"role":"a","networks":[["::1"]]}', 'Each of "networks" must be a string.'),
        (b'{"role":"a","lifetime":8}', '"lifetime" must be a number and its unit: "30m", "8h" or "2d".'),
        (b'{"role":"a","lifetime":""}', '"lifetime" must be a number and its unit: "30m", "8h" or "2d".'),
        (b'{"role":"a","lifetime":"h"}', '"lifetime" must be a number and its unit: "30m", "8h" or "2d".'),
        (b'{"role":"a","lifetime":"1234567s"}', '"lifetime" must be a number and its unit: "30m", "8h" or "2d".'),
        ('{"role":"a","lifetime":"²h"}'.encode(), '"lifetime" must be a number and its unit: "30m", "8h" or "2d".'),
    ],
)
def test_another_request_for_a_job_pass_is_refused_with_a_sentence(body: bytes, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  the whole text is compared
        wire.parse_pass_request(body)
    assert str(raised.value) == sentence


@given(
    st.binary(max_size=64)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps({"role": "a", "networks": value, "lifetime": value}).encode()
    )
)
def test_reading_a_request_for_a_job_pass_ends_in_one_or_a_value_error(body: bytes) -> None:
    for parse in (wire.parse_pass_request, wire.parse_attenuation):
        try:
            parse(body)
        except ValueError:
            continue


def test_an_attenuation_says_something_and_no_role() -> None:
    for body in (b"{}", b'{"role":"a","lifetime":"1h"}'):
        with pytest.raises(ValueError, match="lifetime"):
            wire.parse_attenuation(body)


def test_one_body_serves_credential_process_and_the_container_provider() -> None:
    body = wire.credentials_body(
        access_key_id="ASIA",
        secret_access_key="secret",
        session_token="token",
        expiration="2037-01-01T00:00:00Z",
        account="111122223333",
        role_arn="arn:aws:iam::111122223333:role/R",
    )
    assert json.loads(body) == {
        "Version": 1,
        "AccessKeyId": "ASIA",
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Token": "token",
        "Expiration": "2037-01-01T00:00:00Z",
        "AccountId": "111122223333",
        "RoleArn": "arn:aws:iam::111122223333:role/R",
    }


def test_a_problem_has_the_members_of_rfc_9457_and_ours() -> None:
    body = wire.problem_body(code="revoked", status=403, title="Revoked", hint="ask", request_id="01J")
    assert json.loads(body) == {
        "type": "/problems/revoked",
        "title": "Revoked",
        "status": 403,
        "code": "revoked",
        "hint": "ask",
        "request_id": "01J",
    }
