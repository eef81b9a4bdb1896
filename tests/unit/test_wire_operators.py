"""What operators' programs may say, and that everything else is refused without being repeated."""

from __future__ import annotations

import pytest

from broker import wire_operators as wire
from broker.wire_operators import RevocationRequest

ALICE = "alice@EXAMPLE.COM"
ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "wanted",
    [
        RevocationRequest(what="sessions", user=None, role=None, dry_run=False),
        RevocationRequest(what="sessions", user=ALICE, role=None, dry_run=True),
        RevocationRequest(what="credentials", user=ALICE, role=None, dry_run=True),
        RevocationRequest(what="credentials", user=ALICE, role="developer", dry_run=False),
        RevocationRequest(what="credentials", user=ALICE, role="developer", dry_run=True, aws=True),
    ],
    ids=str,
)
def test_what_the_client_writes_the_broker_reads(wanted: RevocationRequest) -> None:
    assert wire.parse_revocation(wire.revocation(wanted)) == wanted
    for aws in (False, True):
        assert wire.parse_restoration(wire.restoration(user=ALICE, aws=aws)) == (ALICE, aws)
    assert wire.parse_pass_cancellation(wire.pass_cancellation(user=ALICE, identifier=ID)) == (ALICE, ID)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"what":"canary"}',
        b'{"what":"sessions"}',
        b'{"what":"sessions","everybody":false}',
        b'{"what":"sessions","everybody":"true"}',
        b'{"what":"sessions","everybody":1}',
        b'{"what":"sessions","everybody":true,"user":"canary"}',
        b'{"what":"sessions","user":null}',
        b'{"what":"sessions","user":"canary","role":"x"}',
        b'{"what":"sessions","user":"canary","user":"x"}',
        b'{"what":"sessions","user":"canary","dry_run":"no"}',
        b'{"what":"sessions","user":"canary","more":1}',
        b'{"what":"sessions","user":"\\ud800@EXAMPLE.COM"}',
        b'{"what":"sessions","user":"\\u001b[2J@EXAMPLE.COM"}',
        '{"what":"sessions","user":"\u0430lice@EXAMPLE.COM"}'.encode(),
        b'{"what":"sessions","user":"' + b"a" * 601 + b'"}',
        b'{"what":"credentials","everybody":true}',
        b'{"what":"sessions","user":"canary","aws":true}',
        b'{"what":"credentials","user":"canary","aws":"yes"}',
        b'{"what":"credentials","user":["canary"]}',
        b'{"what":"credentials","user":"canary","role":null}',
    ],
)
def test_a_revocation_that_could_mean_two_things_or_nothing_is_none(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\.$") as refused:
        wire.parse_revocation(body)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"user":1}',
        b'{"user":"a@B","id":"x"}',
        b'{"user":"a@B","id":"' + b"A" * 32 + b'"}',
        b'{"id":"x"}',
        b'{"user":null}',
    ],
)
def test_bodies_that_name_nobody_or_no_pass_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        wire.parse_pass_cancellation(body)
    if b'"a@B"' not in body:
        with pytest.raises(ValueError, match=r"\.$"):
            wire.parse_restoration(body)


def test_whom_an_alert_is_cleared_of_is_read_strictly() -> None:
    assert wire.parse_clearing(wire.clearing(user="alice@R")) == "alice@R"
    for body in (b"", b"{}", b"[]", b'{"user":5}', b'{"user":"a@R","all":true}', '{"user":"é@R"}'.encode()):
        with pytest.raises(ValueError):  # noqa: PT011  the sentence is for people
            wire.parse_clearing(body)
