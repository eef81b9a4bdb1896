"""Small random policies and askers who nearly fit them, for tests that ask whether two ways of judging agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import strategies as st

from broker.authz.policy import Policy
from broker.authz.supposed import Supposed, SupposedEvidence
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.rule import Approvers, Requirements, Rule

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
_HOURS = [timedelta(hours=hours) for hours in (1, 2, 8)]


def role(name: str, *, account: str = "111122223333", duration: timedelta = timedelta(hours=1)) -> Role:
    hub = Hop(arn=RoleArn.parse("arn:aws:iam::999900001111:role/Hub"), external_id="hub-1")
    last = Hop(arn=RoleArn.parse(f"arn:aws:iam::{account}:role/{name}"), external_id="x-1")
    return Role(name=RoleName(name), chain=(hub, last), duration=duration)


ROLES = {RoleName(name): role(name) for name in ("developer", "admin")}


def made(name: str, *who: str, roles: Sequence[str] = ("developer",), **rest: Any) -> Rule:
    """A rule for principals (with an @) and groups (without)."""
    return Rule(
        name=name,
        principals=tuple(PrincipalPattern.parse(each) for each in who if "@" in each),
        groups=tuple(each for each in who if "@" not in each),
        networks=tuple(rest.get("networks", ())),
        require=rest.get("require", Requirements()),
        roles=frozenset(map(RoleName, roles)),
        job_passes=rest.get("job_passes"),
        approvers=rest.get("approvers", Approvers()),
    )


_NETWORKS = st.lists(
    st.sampled_from([ip_network(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "127.0.0.0/8", "fd00::/8")]), max_size=2
)
_INDICATORS = st.frozensets(st.sampled_from(["otp", "pkinit"]), max_size=2)
_REQUIREMENTS = st.builds(Requirements, _INDICATORS, st.none() | st.sampled_from(_HOURS), st.booleans())
_ELEVATED = st.sampled_from(
    [
        Requirements(reason=""),
        Requirements(reason="INC-[0-9]"),
        Requirements(approval=1),
        Requirements(approval=2, indicators=frozenset({"otp"})),
        Requirements(break_glass=True),
    ]
)
_EVIDENCE = st.sampled_from(
    [
        SupposedEvidence(),
        SupposedEvidence(any_reason=True),
        SupposedEvidence(approved=True),
        SupposedEvidence(approved=True, any_reason=True, broken=True),
    ]
)
APPROVERS = Approvers(principals=(PrincipalPattern.parse("*/admin@S"),))
_WHO = st.lists(
    st.sampled_from(["alice@R", "bob@R", "*@R", "alice/admin@R", "*/admin@R", "alice/*@R", "*@S", "S-1-1", "S-1-2"]),
    min_size=1,
    max_size=3,
)
_RULES = st.builds(
    lambda who, roles, networks, require, passes: made(
        "r",
        *who,
        roles=roles,
        networks=networks,
        require=require,
        job_passes=None if require.is_elevated else passes,
        approvers=APPROVERS if require.approval else Approvers(),
    ),
    _WHO,
    st.lists(st.sampled_from(["developer", "admin"]), min_size=1, max_size=2),
    _NETWORKS,
    st.just(Requirements()) | _REQUIREMENTS | _ELEVATED,
    st.none() | st.sampled_from(_HOURS),
)


def _numbered(rules: list[Rule]) -> list[Rule]:
    return [made_again(rule, f"rule{place}") for place, rule in enumerate(rules)]


def made_again(rule: Rule, name: str) -> Rule:
    """The same rule under another name."""
    return replace(rule, name=name)


RULES = st.lists(_RULES, max_size=5).map(_numbered)
POLICIES = RULES.map(lambda rules: Policy(roles=ROLES, rules=rules))
ROLE_NAMES = st.sampled_from(["developer", "admin", "no-such-role"]).map(RoleName)
ASKERS = st.builds(
    Supposed,
    principal=st.sampled_from(["alice@R", "bob@R", "carol@R", "alice/admin@R", "carol/admin@R", "alice/x@R", "eve@S", "x@T"]).map(
        Principal.parse
    ),
    groups=st.frozensets(st.sampled_from(["S-1-1", "S-1-2", "S-1-3"])),
    address=st.none() | st.sampled_from([ip_address(text) for text in ("10.2.0.1", "10.1.0.1", "127.0.0.1", "fd00::1", "::1")]),
    indicators=_INDICATORS,
    age=st.sampled_from([timedelta(0), timedelta(minutes=50), timedelta(minutes=90), timedelta(hours=3), timedelta(hours=9)]),
    bound=st.booleans(),
    job=st.none() | st.sampled_from([timedelta(minutes=10), timedelta(minutes=90), timedelta(hours=3)]),
    evidence=_EVIDENCE,
)  # fmt: skip
