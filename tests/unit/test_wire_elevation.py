"""The shapes of elevation are read as strictly as all others, and never quoted back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker import wire, wire_elevation

WHOLE = {"role": "admin", "scope": "small", "reason": "INC-1: ünd so", "duration": "30m", "break_glass": True}


def test_a_whole_request_is_read_as_it_was_written() -> None:
    found = wire_elevation.parse_elevation_request(json.dumps(WHOLE).encode())
    assert (found.role, found.scope, found.reason) == ("admin", "small", "INC-1: ünd so")
    assert (found.duration, found.break_glass) == (1800, True)
    least = wire_elevation.parse_elevation_request(b'{"role":"admin","reason":"x"}')
    assert (least.scope, least.duration, least.break_glass) == (None, None, False)


@pytest.mark.parametrize(
    "changed",
    [
        {"approvers": ["mallory@R"]},
        {"external_id": "x"},
        {"break_glass": "true"},
        {"break_glass": 1},
        {"duration": 1800},
        {"duration": "1 h"},
        {"duration": "-30m"},
        {"role": ""},
        {"scope": None},
    ],
    ids=str,
)
def test_anything_else_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wire_elevation.parse_elevation_request(json.dumps(WHOLE | changed).encode())


@pytest.mark.parametrize(
    "reason",
    ["", "   ", "x" * 201, "a\nb", "a\x1b[2Jb", "a\u202eb", "\ud800", "a\x00", 7, None, ["INC-1"], True],
    ids=ascii,
)
def test_a_reason_that_is_none_is_refused(reason: object) -> None:
    for parse in (wire_elevation.parse_elevation_request, wire.parse_credentials_request, wire.parse_console_request):
        with pytest.raises(ValueError, match='"reason" must be 1 to 200 printable characters') as caught:
            parse(json.dumps({"role": "admin", "reason": reason}).encode())
        assert "INC" not in str(caught.value)


@pytest.mark.parametrize("missing", ["role", "reason"])
def test_what_is_missing_is_named(missing: str) -> None:
    body = {name: value for name, value in WHOLE.items() if name != missing}
    with pytest.raises(ValueError, match=f'"{missing}" is missing'):
        wire_elevation.parse_elevation_request(json.dumps(body).encode())


def test_a_denial_needs_no_words_and_a_closing_does() -> None:
    assert wire_elevation.parse_denial(b"") is None
    assert wire_elevation.parse_denial(wire_elevation.denial(reason=None)) is None
    assert wire_elevation.parse_denial(wire_elevation.denial(reason="no")) == "no"
    closing = wire_elevation.closing(identifier="0" * 32, note="seen")
    assert wire_elevation.parse_closing(closing) == ("0" * 32, "seen")
    for wrong in ({"id": "0" * 31, "note": "x"}, {"id": "../../etc/passwd", "note": "x"}, {"id": "0" * 32}):
        with pytest.raises(ValueError, match=r".+"):
            wire_elevation.parse_closing(json.dumps(wrong).encode())


def test_what_a_client_writes_is_what_the_broker_reads() -> None:
    body = wire_elevation.elevation_request(role="admin", reason='"quoted" \\ ü', duration="1h", break_glass=True)
    found = wire_elevation.parse_elevation_request(body)
    assert (found.reason, found.duration, found.break_glass) == ('"quoted" \\ ü', 3600, True)
