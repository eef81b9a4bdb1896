"""The decision: what a rule gives, and that nothing else gives anything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authz.policy import Policy, decide
from broker.core.errors import AccessDenied, AuthFailed, BrokerError, DirectoryUnavailable
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.principal import NameType, Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.rule import Address, Requirements, Rule

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
HERE = ip_address("127.0.0.1")
TOMORROW = NOW + timedelta(days=1)
HUB = Hop(arn=RoleArn.parse("arn:aws:iam::999900001111:role/Hub"), external_id="hub-1")


def role(name: str, *, external_id: str = "x-1", duration: timedelta = timedelta(hours=1)) -> Role:
    last = Hop(arn=RoleArn.parse(f"arn:aws:iam::111122223333:role/{name}"), external_id=external_id)
    return Role(name=RoleName(name), chain=(HUB, last), duration=duration)


ROLES = {RoleName(name): role(name) for name in ("developer", "readonly", "admin")}


def rule(
    name: str, *principals: str, roles: Sequence[str], networks: Sequence[str] = (), groups: Sequence[str] = ()
) -> Rule:
    return Rule(
        name=name,
        principals=tuple(map(PrincipalPattern.parse, principals)),
        groups=tuple(groups),
        networks=tuple(map(ip_network, networks)),
        require=Requirements(),
        roles=frozenset(map(RoleName, roles)),
    )


def somebody(
    principal: Principal,
    *,
    ticket_end: datetime = TOMORROW,
    groups: Sequence[str] = (),
    groups_unknown: str | None = None,
) -> Identity:
    return Identity(
        principal=principal,
        ticket_end=ticket_end,
        authenticated_at=NOW,
        channel_bound=False,
        indicators=frozenset(),
        groups=frozenset(groups),
        mutual_token=None,
        groups_unknown=groups_unknown,
    )


def ask(
    *rules: Rule,
    who: str = "alice@R",
    role: str = "developer",
    address: Address | None = HERE,
    ticket_end: datetime = TOMORROW,
    now: datetime = NOW,
    roles: dict[RoleName, Role] = ROLES,
    groups: Sequence[str] = (),
    groups_unknown: str | None = None,
) -> Grant:
    return decide(
        Policy(roles=roles, rules=rules),
        identity=somebody(Principal.parse(who), ticket_end=ticket_end, groups=groups, groups_unknown=groups_unknown),
        role=RoleName(role),
        address=address,
        now=now,
    )


def denied(*rules: Rule, **asked: object) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        ask(*rules, **asked)  # type: ignore[arg-type]
    return caught.value


ENGINEERS = rule("engineers", "alice@R", roles=["developer"])


def test_a_grant_says_who_may_have_what_by_which_rule_and_how_long() -> None:
    grant = ask(ENGINEERS)
    assert (grant.principal, grant.role, grant.rule) == (Principal(("alice",), "R"), ROLES["developer"], "engineers")
    assert (grant.lifetime, grant.ends_at) == (timedelta(hours=1), None)


def test_without_rules_nobody_gets_anything() -> None:
    assert denied().reason == "no_rule"


def test_an_unknown_role_and_a_forbidden_one_are_refused_in_the_same_words() -> None:
    forbidden, unknown = denied(ENGINEERS, role="admin"), denied(ENGINEERS, role="no-such-role")
    assert type(forbidden) is type(unknown)
    assert (forbidden.reason, forbidden.hint, str(forbidden)) == (unknown.reason, unknown.hint, str(unknown))


@pytest.mark.parametrize("who", ["mallory@R", "Alice@R", "alice@S", "alice/admin@R", "alice\\/x@R", "alice\\n@R"])
def test_somebody_else_gets_nothing(who: str) -> None:
    assert denied(ENGINEERS, who=who).reason == "no_rule"


@pytest.mark.parametrize(
    "order",
    [
        ("wildcard", "literal"),
        ("literal", "wildcard"),
        ("unrelated", "wildcard", "literal"),
    ],
)
def test_the_first_rule_of_the_file_wins_wildcard_or_not(order: tuple[str, ...]) -> None:
    rules = {
        "wildcard": rule("wildcard", "*@R", roles=["developer"]),
        "literal": rule("literal", "alice@R", roles=["developer"]),
        "unrelated": rule("unrelated", "alice@R", roles=["admin"]),
    }
    first = next(name for name in order if name != "unrelated")
    assert ask(*(rules[name] for name in order)).rule == first


def test_a_rule_that_does_not_hold_here_leaves_the_word_to_the_next() -> None:
    rules = (
        rule("office", "alice@R", roles=["developer"], networks=["10.0.0.0/8"]),
        rule("anywhere", "alice@R", roles=["developer"]),
    )
    assert ask(*rules, address=ip_address("10.1.2.3")).rule == "office"
    assert ask(*rules, address=ip_address("192.0.2.1")).rule == "anywhere"


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("9.255.255.255", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::ffff:192.0.2.1", False),
        ("::1", False),
    ],
)
def test_a_rule_with_networks_holds_inside_them_only(address: str, allowed: bool) -> None:  # noqa: FBT001
    office = rule("office", "alice@R", roles=["developer"], networks=["10.0.0.0/8", "2001:db8::/32"])
    if allowed:
        assert ask(office, address=ip_address(address)).rule == "office"
    else:
        denied(office, address=ip_address(address))


def test_a_local_socket_has_no_address_and_is_in_no_network() -> None:
    denied(rule("office", "alice@R", roles=["developer"], networks=["0.0.0.0/0", "::/0"]), address=None)
    assert ask(ENGINEERS, address=None).rule == "engineers"


# ---- groups ----

DEVELOPERS = "S-1-5-21-1-2-3-1105"
BY_GROUP = rule("by-group", groups=[DEVELOPERS, "R\\aws-dev"], roles=["developer"])


@pytest.mark.parametrize("group", [DEVELOPERS, "R\\aws-dev"])
def test_a_rule_means_whoever_is_in_one_of_its_groups(group: str) -> None:
    assert ask(BY_GROUP, who="mallory@R", groups=["S-1-5-21-1-2-3-999", group]).rule == "by-group"


@pytest.mark.parametrize(
    "groups",
    [
        [],
        ["S-1-5-21-1-2-3-110"],
        ["S-1-5-21-1-2-3-11050"],
        ["S-1-5-21-9-9-9-1105"],
        ["s-1-5-21-1-2-3-1105"],
        ["R\\AWS-DEV"],
        ["S\\aws-dev"],
        ["aws-dev"],
        ["alice@R"],
    ],
)
def test_another_group_is_not_this_one(groups: list[str]) -> None:
    assert denied(BY_GROUP, groups=groups).reason == "no_rule"


def test_a_group_called_like_a_principal_is_not_that_principal() -> None:
    assert denied(ENGINEERS, who="mallory@R", groups=["alice@R", "alice", "developer"]).reason == "no_rule"


@pytest.mark.parametrize("order", [("person", "group"), ("group", "person")])
def test_the_first_rule_of_the_file_wins_named_in_person_or_by_group(order: tuple[str, str]) -> None:
    rules = {
        "person": rule("person", "alice@R", roles=["developer"]),
        "group": rule("group", groups=[DEVELOPERS], roles=["developer"]),
    }
    assert ask(*(rules[name] for name in order), groups=[DEVELOPERS]).rule == order[0]


def test_who_is_named_in_person_needs_no_directory() -> None:
    assert ask(BY_GROUP, ENGINEERS, groups_unknown="directory_timeout").rule == "engineers"


@pytest.mark.parametrize("role", ["developer", "admin", "no-such-role"])
def test_while_groups_are_unknown_nobody_is_told_that_they_may_not_and_every_role_looks_alike(role: str) -> None:
    with pytest.raises(DirectoryUnavailable) as caught:
        ask(BY_GROUP, who="mallory@R", role=role, groups_unknown="directory_timeout")
    assert (caught.value.reason, caught.value.hint) == ("directory_timeout", None)


# ---- the ticket's end ----


def test_credentials_end_with_the_ticket_where_it_ends_sooner_by_the_minute() -> None:
    grant = ask(ENGINEERS, ticket_end=NOW + timedelta(minutes=40, seconds=59))
    assert grant.lifetime == timedelta(minutes=40)
    assert grant.ends_at == int((NOW + timedelta(minutes=40)).timestamp())


def test_requests_with_one_short_ticket_share_one_end_while_the_clock_ticks() -> None:
    end = NOW + timedelta(minutes=40, seconds=30)
    grants = [ask(ENGINEERS, ticket_end=end, now=NOW + timedelta(seconds=later)) for later in (0, 1, 59)]
    assert len({grant.ends_at for grant in grants}) == 1
    assert [grant.lifetime.total_seconds() for grant in grants] == [2400, 2399, 2341]


@pytest.mark.parametrize("left", [timedelta(0), timedelta(minutes=14), timedelta(minutes=15), timedelta(hours=-1)])
def test_a_ticket_that_ends_within_a_quarter_of_an_hour_is_refused_with_what_to_do(left: timedelta) -> None:
    with pytest.raises(AuthFailed) as caught:
        ask(ENGINEERS, ticket_end=NOW + left)
    assert caught.value.reason == "ticket_ends_too_soon"
    assert (caught.value.hint or "").endswith(": run zerotrust login")


def test_who_may_not_have_a_role_learns_nothing_of_it_from_a_short_ticket() -> None:
    assert denied(ENGINEERS, role="admin", ticket_end=NOW).reason == "no_rule"


@given(st.integers(-7200, 7200), st.integers(0, 59), st.sampled_from([20, 45, 60]))
def test_a_grant_never_outlives_the_ticket_nor_the_role(seconds: int, tick: int, minutes: int) -> None:
    now = NOW + timedelta(seconds=tick)
    ticket_end = now + timedelta(seconds=seconds)
    roles = {RoleName("developer"): role("developer", duration=timedelta(minutes=minutes))}
    try:
        grant = ask(ENGINEERS, ticket_end=ticket_end, now=now, roles=roles)
    except AuthFailed:
        assert seconds <= 16 * 60
        return
    assert timedelta(minutes=15) < grant.lifetime <= timedelta(minutes=minutes)
    assert now + grant.lifetime <= ticket_end
    assert grant.ends_at is None or now + grant.lifetime == datetime.fromtimestamp(grant.ends_at, UTC)


# ---- the policy as a whole ----

_NAMES = ["alice@R", "mallory@R", "alice/admin@R", "alice@S", "HTTP/web.example.com@R", "DC1$@R"]
_GROUPS = [DEVELOPERS, "R\\aws-dev", "S\\aws-dev"]
_PATTERNS = [*_NAMES, "*@R", "*/admin@R", "alice/*@R", "*@S"]
_RULES = st.builds(
    lambda principals, groups, roles, networks: rule("r", *principals, groups=groups, roles=roles, networks=networks),
    st.lists(st.sampled_from(_PATTERNS), max_size=3),
    st.lists(st.sampled_from(_GROUPS), max_size=2),
    st.lists(st.sampled_from(list(ROLES)), min_size=1, max_size=2),
    st.lists(st.sampled_from(["10.0.0.0/8", "127.0.0.0/8"]), max_size=1),
)
_ASKED = st.fixed_dictionaries(
    {
        "who": st.sampled_from(_NAMES),
        "role": st.sampled_from([*ROLES, "none"]),
        "address": st.sampled_from([None, ip_address("127.0.0.1"), ip_address("10.0.0.1")]),
        "groups": st.lists(st.sampled_from(_GROUPS), max_size=2),
        "groups_unknown": st.sampled_from([None, "directory_timeout"]),
    }
)


def given_to(rules: Sequence[Rule], asked: dict[str, object]) -> bool:
    try:
        ask(*rules, **asked)  # type: ignore[arg-type]
    except BrokerError:
        return False
    return True


@given(st.lists(_RULES, max_size=5), _RULES, st.integers(0, 5), _ASKED)
def test_adding_a_rule_never_takes_anything_away(
    rules: list[Rule], more: Rule, place: int, asked: dict[str, object]
) -> None:
    if given_to(rules, asked):
        assert given_to([*rules[:place], more, *rules[place:]], asked)


@given(st.lists(_RULES, max_size=5), _ASKED)
def test_the_index_decides_as_reading_every_rule_would(rules: list[Rule], asked: dict[str, object]) -> None:
    principal, groups = Principal.parse(str(asked["who"])), set(cast("list[str]", asked["groups"]))
    holds = any(
        asked["role"] in one.roles
        and one.allows_from(cast("Address | None", asked["address"]))
        and (any(pattern.matches(principal) for pattern in one.principals) or groups & set(one.groups))
        for one in rules
    )
    assert given_to(rules, asked) == holds


@given(st.lists(_RULES, max_size=5), _ASKED)
def test_the_roles_that_are_listed_are_the_roles_that_are_given(rules: list[Rule], asked: dict[str, object]) -> None:
    identity = somebody(Principal.parse(str(asked["who"])), groups=cast("list[str]", asked["groups"]))
    listed = Policy(roles=ROLES, rules=rules).roles_for(identity, cast("Address | None", asked["address"]))
    assert [one.name for one in listed] == [name for name in sorted(ROLES) if given_to(rules, {**asked, "role": name})]


def test_a_role_s_digest_changes_with_whatever_it_stands_for() -> None:
    variants = [
        role("developer"),
        role("developer", external_id="x-2"),
        role("developer", duration=timedelta(minutes=30)),
        Role(name=RoleName("developer"), chain=(HUB,), duration=timedelta(hours=1)),
    ]
    digests = {Policy(roles={v.name: v}, rules=()).digest(v.name) for v in variants}
    assert len(digests) == len(variants)
    assert Policy(roles=ROLES, rules=()).digest(RoleName("developer")) in digests


def test_the_name_type_is_part_of_who_somebody_is_in_a_grant() -> None:
    policy = Policy(roles=ROLES, rules=[ENGINEERS])
    grants = [
        decide(
            policy,
            identity=somebody(Principal(("alice",), "R", kind)),
            role=RoleName("developer"),
            address=None,
            now=NOW,
        )
        for kind in (NameType.PRINCIPAL, NameType.SRV_INST)
    ]
    assert grants[0].principal != grants[1].principal
