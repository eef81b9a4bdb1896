"""A rule's pattern means people, exactly as many as its author thought."""

from __future__ import annotations

import pytest

from broker.core.pattern import SERVICE_NAMES, PrincipalPattern, UnsafePattern
from broker.core.principal import Principal


def matches(pattern: str, principal: str) -> bool:
    return PrincipalPattern.parse(pattern).matches(Principal.parse(principal))


@pytest.mark.parametrize(
    "text",
    [
        "*@*",
        "alice@*",
        "alice@*.EXAMPLE.COM",
        "al*ce@R",
        "**@R",
        "alice*@R",
        "host/*@R",
        "HTTP/*@R",
        "http/*@R",
        "HOST/*@R",
        "krbtgt/*@R",
        "*/*@R",
        "*/*/admin@R",
        "alice",
        "alice@",
        "@R",
        "alice/@R",
        "/admin@R",
        "alice@R@S",
        "alice\\",
        "",
        "*",
    ],
)
def test_a_pattern_that_would_match_more_than_anybody_means_is_refused(text: str) -> None:
    with pytest.raises(UnsafePattern):
        PrincipalPattern.parse(text)


@pytest.mark.parametrize(
    ("pattern", "principal"),
    [
        ("alice@R", "alice@R"),
        ("alice/admin@R", "alice/admin@R"),
        ("*@R", "alice@R"),
        ("*@R", "jane.doe@R"),
        ("*/admin@R", "alice/admin@R"),
        ("alice/*@R", "alice/laptop@R"),
        ("HTTP/web.example.com@R", "HTTP/web.example.com@R"),
        ("DC1$@R", "DC1$@R"),
    ],
)
def test_a_pattern_matches_whom_it_names(pattern: str, principal: str) -> None:
    assert matches(pattern, principal)


@pytest.mark.parametrize(
    ("pattern", "principal"),
    [
        ("alice@R", "Alice@R"),
        ("alice@R", "alice@r"),
        ("alice@R", "alice@RR"),
        ("alice@R", "alice/admin@R"),
        ("alice@R", "alice @R"),
        ("alice@R", "alice\\n@R"),
        ("alice@R", "\u0430lice@R"),
        ("alice/admin@R", "alice\\/admin@R"),
        ("*@R", "alice@S"),
        ("*@R", "alice/admin@R"),
        ("*/admin@R", "admin@R"),
        ("*/admin@R", "alice/bob/admin@R"),
        ("*/admin@R", "alice/Admin@R"),
    ],
)
def test_a_pattern_matches_nobody_else(pattern: str, principal: str) -> None:
    assert not matches(pattern, principal)


@pytest.mark.parametrize("service", sorted(SERVICE_NAMES))
@pytest.mark.parametrize("spelling", [str, str.upper, str.lower])
def test_a_wildcard_never_matches_a_service(service, spelling) -> None:
    name = spelling(service)
    assert not matches("*@R", f"{name}@R")
    assert not matches("*/admin@R", f"{name}/admin@R")
    assert matches(f"{name}/admin@R", f"{name}/admin@R")


@pytest.mark.parametrize("name", ["DC1$@R", "web-01$@R"])
def test_a_wildcard_never_matches_a_machine_account(name: str) -> None:
    assert not matches("*@R", name)


@pytest.mark.parametrize("name", ["mongodb/db1.example.com@R", "oracle/db1.example.com@R"])
def test_a_wildcard_never_matches_a_service_on_a_host_though_nobody_listed_its_name(name: str) -> None:
    assert not matches("*/db1.example.com@R", name)
    assert not matches(name.partition("/")[0] + "/*@R", name)
