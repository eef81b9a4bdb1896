"""A decision finds its rules without reading the others, and finds all of them."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authz.policy import Policy
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from tests.unit.authz.test_policy import role, rule, somebody

MANY = 5_000
HERE = ip_address("127.0.0.1")

_COMPONENTS = st.sampled_from(["alice", "bob", "admin", "*", "host", "DC1$", "a.b"])
_PRINCIPALS = st.builds(
    Principal, st.lists(_COMPONENTS, min_size=1, max_size=3).map(tuple), st.sampled_from(["R", "S"])
)
_PATTERNS = st.sampled_from(
    ["alice@R", "bob@R", "*@R", "*@S", "*/admin@R", "alice/*@R", "alice/*/admin@R", "host/a.b@R", "DC1$@R", "bob@S"]
)
_GROUPS = st.sampled_from(["S-1-5-21-1-1", "S-1-5-21-1-2", "R\\dev"])
_ROLES = st.sampled_from(["developer", "readonly", "admin"])
_RULES = st.lists(
    st.builds(
        lambda patterns, groups, roles: rule("r", *patterns, groups=groups, roles=roles),
        st.lists(_PATTERNS, max_size=3),
        st.lists(_GROUPS, max_size=2),
        st.lists(_ROLES, min_size=1, max_size=2),
    ),
    max_size=8,
)
ROLES = {RoleName(name): role(name) for name in ("developer", "readonly", "admin")}


@pytest.mark.parametrize("times", [1, 40])  # forty times eight: some names are then kept in the other form
@given(_RULES, _PRINCIPALS, st.sets(_GROUPS), _ROLES)
def test_the_index_finds_what_reading_every_rule_would_find(times, rules, principal, groups, wanted):
    policy = Policy(roles=ROLES, rules=rules * times)
    asker = somebody(principal, groups=tuple(groups))
    named = [each for each in policy.rules if each.names(asker)]
    assert policy.rules_naming(asker) == named
    assert list(policy.rules_for(asker, HERE, RoleName(wanted))) == [each for each in named if wanted in each.roles]


def _looked_at(policy: Policy, who: str, wanted: str, groups: tuple[str, ...] = ()) -> int:
    """How many rules a decision goes on to after the index."""
    return sum(1 for _ in policy.rules_for(somebody(Principal.parse(who), groups=groups), HERE, RoleName(wanted)))


def _numbered(number: int) -> Role:
    hop = Hop(arn=RoleArn.parse(f"arn:aws:iam::111122223333:role/R{number}"), external_id="x-1")
    return Role(name=RoleName(f"role{number}"), chain=(hop,), duration=timedelta(hours=1))


def test_one_rule_is_looked_at_however_many_name_others_or_their_own_star():
    rules = [rule(f"r{n}", f"user{n}@R", f"host{n}/*@R", roles=["developer"], groups=[f"G\\{n}"]) for n in range(MANY)]
    policy = Policy(roles=ROLES, rules=rules)
    assert _looked_at(policy, "user777@R", "developer") == 1
    assert _looked_at(policy, "host777/x@R", "developer") == 1
    assert _looked_at(policy, "nobody@R", "developer", ("G\\777", "G\\778")) == 2
    assert _looked_at(policy, "nobody@R", "developer") == 0


def test_one_rule_is_looked_at_however_many_roles_somebody_has():
    roles = {role.name: role for role in map(_numbered, range(MANY))}
    policy = Policy(roles=roles, rules=[rule(f"r{n}", "*@R", roles=[f"role{n}"]) for n in range(MANY)])
    assert _looked_at(policy, "alice@R", "role777") == 1
    assert _looked_at(policy, "alice@R", "no-such-role") == 0


def test_rules_that_are_added_later_stand_behind_the_others():
    first, second = rule("first", "alice@R", roles=["developer"]), rule("second", "*@R", roles=["developer"])
    bit_by_bit = Policy(roles=ROLES, rules=[first])
    bit_by_bit.add([second])
    assert bit_by_bit.rules == (first, second)
    assert bit_by_bit.fingerprint() == Policy(roles=ROLES, rules=[first, second]).fingerprint()


def test_a_fingerprint_changes_with_whatever_changes_and_with_nothing_else():
    alice, bob = rule("a", "alice@R", roles=["developer"]), rule("b", "bob@R", roles=["developer"])
    one = Policy(roles=ROLES, rules=[alice, bob]).fingerprint()
    assert one == Policy(roles=dict(ROLES), rules=[alice, bob]).fingerprint()
    assert one != Policy(roles=ROLES, rules=[bob, alice]).fingerprint()
    other = {**ROLES, RoleName("admin"): role("admin", external_id="x-2")}
    assert one != Policy(roles=other, rules=[alice, bob]).fingerprint()
