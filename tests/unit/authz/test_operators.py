"""Who operates the broker: those who are named, with a ticket that is good enough, and nobody by a job pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from broker.authn.identity import principal_from
from broker.authz.operators import Operators
from broker.core.errors import AccessDenied, StepUpRequired
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.rule import Requirements

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def somebody(name: str, **rest: object) -> Identity:
    identity = Identity(
        principal=principal_from(name.encode(), anonymous=False),
        ticket_end=NOON + timedelta(minutes=1),
        authenticated_at=NOON - timedelta(hours=1),
        channel_bound=False,
        indicators=frozenset(),
        groups=frozenset(),
        mutual_token=None,
    )
    return replace(identity, **rest)


def operators(*patterns: str, require: Requirements | None = None) -> Operators:
    found = [PrincipalPattern.parse(pattern) for pattern in patterns]
    return Operators(patterns=found, require=require or Requirements())


@pytest.mark.parametrize("name", ["root/admin@EXAMPLE.COM", "carol/admin@EXAMPLE.COM"])
def test_whoever_is_named_operates_until_the_ticket_ends(name: str) -> None:
    operators("root/admin@EXAMPLE.COM", "*/admin@EXAMPLE.COM").admit(somebody(name), now=NOON)


@pytest.mark.parametrize(
    "name",
    [
        "root@EXAMPLE.COM",
        "Root/admin@EXAMPLE.COM",
        "root/admin@EXAMPLE.ORG",
        "root/admin/x@EXAMPLE.COM",
        "admin/root@EXAMPLE.COM",
    ],
)
def test_nobody_else_does(name: str) -> None:
    with pytest.raises(AccessDenied) as refused:
        operators("root/admin@EXAMPLE.COM").admit(somebody(name), now=NOON)
    assert refused.value.reason == "no_operator"


@pytest.mark.parametrize("name", ["host/admin@EXAMPLE.COM", "krbtgt/admin@EXAMPLE.COM", "PC1$/admin@EXAMPLE.COM"])
def test_a_wildcard_makes_no_service_an_operator(name: str) -> None:
    with pytest.raises(AccessDenied):
        operators("*/admin@EXAMPLE.COM").admit(somebody(name), now=NOON)


def test_where_nobody_is_named_nobody_operates() -> None:
    with pytest.raises(AccessDenied):
        operators().admit(somebody("root/admin@EXAMPLE.COM"), now=NOON)


@pytest.mark.parametrize(
    "by", [{"delegated_at": NOON}, {"impersonated_by": ()}, {"impersonated_by": ("HTTP/x@R",)}], ids=str
)
def test_a_job_of_an_operator_is_none_nor_a_service_in_an_operators_name(by: dict[str, object]) -> None:
    with pytest.raises(AccessDenied) as refused:
        operators("root/admin@EXAMPLE.COM").admit(somebody("root/admin@EXAMPLE.COM", **by), now=NOON)
    assert refused.value.reason == "operator_not_present"


def test_a_weak_ticket_of_an_operator_is_asked_to_be_stronger_and_nobody_elses() -> None:
    strict = operators("root/admin@EXAMPLE.COM", require=Requirements(indicators=frozenset({"pkinit"})))
    with pytest.raises(StepUpRequired, match="ticket_too_weak"):
        strict.admit(somebody("root/admin@EXAMPLE.COM"), now=NOON)
    with pytest.raises(AccessDenied):
        strict.admit(somebody("alice@EXAMPLE.COM"), now=NOON)
    strict.admit(somebody("root/admin@EXAMPLE.COM", indicators=frozenset({"pkinit"})), now=NOON)


def test_a_fresh_login_counts_to_its_last_second() -> None:
    fresh = operators("root/admin@EXAMPLE.COM", require=Requirements(max_ticket_age=timedelta(hours=1)))
    fresh.admit(somebody("root/admin@EXAMPLE.COM"), now=NOON)
    with pytest.raises(StepUpRequired) as refused:
        fresh.admit(somebody("root/admin@EXAMPLE.COM"), now=NOON + timedelta(seconds=1))
    assert (
        refused.value.hint
        == "operators need a ticket obtained within the last 1:00:00: run zerotrust login in that way"
    )
