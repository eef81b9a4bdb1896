"""The bodies of requests, of users and of operators: what they may hold, or a sentence that repeats nothing of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from broker import wire, wire_elevation, wire_operators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

sentences: set[str] = set()
# There are thirty of them. A text of the client's in one would soon make it many.
SENTENCES_MAX = 45
REASON_MAX = 200
LIFETIME_END = 1_000_000 * 86_400  # seconds: six digits of days


def seeds() -> Iterator[bytes]:
    yield b'{"role": "developer"}'
    yield b'{"role": "developer", "scope": "readonly"}'
    yield b'{"role": "developer", "duration": 43200}'
    yield b'{"role": "a", "role": "b"}'
    yield b'{"role": "\\ud800"}'
    yield b"[" * 2000
    yield b'{"role": "developer", "networks": ["192.0.2.0/24", "2001:db8::/32"], "lifetime": "8h"}'
    yield b'{"networks": ["192.0.2.1/32"]}'
    yield b'{"lifetime": "30m"}'
    yield b'{"what": "sessions", "everybody": true, "dry_run": true}'
    yield b'{"what": "credentials", "user": "alice@EXAMPLE.COM", "role": "developer"}'
    yield b'{"user": "alice@EXAMPLE.COM", "id": "0123456789abcdef0123456789abcdef"}'
    yield b'{"user": "\\ud800@EXAMPLE.COM"}'
    yield '{"role": "d\u0435veloper"}'.encode()
    yield b'{"role": "prod", "reason": "INC-1 fire", "duration": "30m", "break_glass": true}'
    yield b'{"reason": "\\u202eINC-1"}'
    yield b'{"id": "0123456789abcdef0123456789abcdef", "note": "seen"}'
    yield b'{"role": 1e999}'
    yield '{"role": "developer"}'.encode("utf-16")


def one_input(data: bytes) -> None:
    request = parsed(wire.parse_credentials_request, data)
    if request is not None:
        asked = {"role": request.role, "scope": request.scope, "reason": request.reason}
        said = json.loads(data)
        # Blanks around a reason are nobody's.
        said |= {"reason": said["reason"].strip()} if "reason" in said else {}
        assert said == {name: text for name, text in asked.items() if text is not None}
        judge_role(request.role)
        judge_role(request.scope or "none")
    job_pass = parsed(wire.parse_pass_request, data)
    if job_pass is not None:
        judge_role(job_pass.role)
        judge_pass(job_pass, json.loads(data))
    narrower = parsed(wire.parse_attenuation, data)
    if narrower is not None:
        assert not narrower.role
        judge_pass(narrower, json.loads(data))
    judge_elevation(data)
    judge_operators(data)


def judge_elevation(data: bytes) -> None:
    asked = parsed(wire_elevation.parse_elevation_request, data)
    if asked is not None:
        judge_role(asked.role)
        judge_role(asked.scope or "none")
        assert asked.duration is None or 0 <= asked.duration < LIFETIME_END
    closed = parsed(wire_elevation.parse_closing, data)
    for text in (asked and asked.reason, parsed(wire_elevation.parse_denial, data), closed and closed[1]):
        assert text is None or (text.isprintable() and len(text) <= REASON_MAX)


def judge_operators(data: bytes) -> None:
    revocation = parsed(wire_operators.parse_revocation, data)
    if revocation is not None:
        assert wire_operators.parse_revocation(wire_operators.revocation(revocation)) == revocation
    restored = parsed(wire_operators.parse_restoration, data)
    named = [
        restored and restored[0],
        *(parsed(wire_operators.parse_pass_cancellation, data) or ()),
    ]
    for text in (*named, revocation and revocation.user):
        assert text is None or (text.isascii() and text.isprintable())


def parsed(parse: Callable[[bytes], T], data: bytes) -> T | None:
    try:
        return parse(data)
    except ValueError as error:
        assert type(error) is ValueError
        sentences.add(str(error))
        assert len(sentences) <= SENTENCES_MAX, sentences
        return None


def judge_role(role: str) -> None:
    assert 1 <= len(role) <= wire.ROLE_LENGTH_MAX
    assert role.isascii()
    assert role.isprintable()


def judge_pass(request: wire.PassRequest, sent: dict[str, object]) -> None:
    assert sent.keys() <= {"role", "networks", "lifetime"}
    assert sent.get("networks") == (None if request.networks is None else list(request.networks))
    assert ("lifetime" in sent) == (request.lifetime is not None)
    assert request.lifetime is None or 0 <= request.lifetime < LIFETIME_END
    assert request.networks is None or 1 <= len(request.networks) <= wire.NETWORKS_MAX
