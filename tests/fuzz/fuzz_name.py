"""Names and patterns: what is printed reads back the same, no two principals share a session name, no wildcard is a service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from broker.authn.identity import principal_from
from broker.core.errors import AuthFailed
from broker.core.pattern import SERVICE_NAMES, PrincipalPattern, UnsafePattern
from broker.core.principal import MalformedPrincipal, NameType, Principal

if TYPE_CHECKING:
    from collections.abc import Iterator

# STS: RoleSessionName and SourceIdentity.
SESSION_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
# Names that were made so far, to find two principals with one; forgotten when they become many.
REMEMBERED_MAX = 50_000
made: dict[str, Principal] = {}


def seeds() -> Iterator[bytes]:
    yield b"alice@EXAMPLE.COM"
    yield b"HTTP/broker.example.com@EXAMPLE.COM"
    yield b"*/admin@EXAMPLE.COM"
    yield b"*@EXAMPLE.COM"
    yield b"a\\/b\\@c\\\\d\\n\\t\\b\\0@EXAMPLE.COM"
    yield b"WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS"
    yield b"DC1$@EXAMPLE.COM"
    yield b"name@/O=Example/CN=realm"
    yield "\u0430lice@EXAMPLE.COM".encode()
    yield b"a" * 70 + b"/" + b"b" * 60 + b"@EXAMPLE.COM"


def one_input(data: bytes) -> None:
    judge_authentication(data)
    text = data.decode("utf-8", "replace")
    judge_printing(text)
    judge_pattern(text)


def judge_authentication(printed: bytes) -> None:
    try:
        principal = principal_from(printed, anonymous=False)
    except AuthFailed as error:
        assert error.reason in {"name_too_long", "name_malformed", "name_anonymous"}, error.reason
        return
    assert SESSION_NAME.fullmatch(principal.session_name())
    assert Principal.parse(str(principal)) == principal


def judge_printing(text: str) -> None:
    for name_type in (NameType.PRINCIPAL, NameType.SRV_INST):
        try:
            principal = Principal.parse(text, name_type=name_type)
        except MalformedPrincipal:
            return
        assert Principal.parse(str(principal), name_type=name_type) == principal
        if len(made) > REMEMBERED_MAX:
            made.clear()
        name = principal.session_name()
        assert made.setdefault(name, principal) == principal, (name, made[name])


def judge_pattern(text: str) -> None:
    try:
        pattern = PrincipalPattern.parse(text)
    except UnsafePattern as error:
        assert error.what
        assert error.fix
        return
    assert pattern.realm
    assert "*" not in pattern.realm
    # Wildcards stand for whole components: each is filled with one that the pattern's author did not think of.
    for filling in ("alice", "a/b", "krbtgt", "DC1$", "web.example.com", ""):
        components = tuple(filling if part == "*" else part for part in pattern.components)
        somebody = Principal(components=components, realm=pattern.realm)
        matched = pattern.matches(somebody)
        assert matched if pattern.is_literal else not (matched and is_service(components))
        assert not pattern.matches(Principal(components=components, realm=pattern.realm + "X"))
        assert not pattern.matches(Principal(components=(*components, "more"), realm=pattern.realm))


def is_service(components: tuple[str, ...]) -> bool:
    return components[0].lower() in {name.lower() for name in SERVICE_NAMES} or components[0].endswith("$")
