"""Who may do what with which secret: what a rule allows, and that nothing else allows anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authz.secrets import Caller, Permit, permit, visible_below
from broker.core.errors import AccessDenied, ApprovalRequired, BrokerError, DirectoryUnavailable, StepUpRequired
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.core.rule import Requirements
from broker.core.secret_path import PathPattern
from broker.core.secret_rule import Action, SecretRule

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
HERE = ip_address("127.0.0.1")
EVERYTHING = tuple(Action)
OTP = Requirements(indicators=frozenset({"otp"}))


def rule(
    name: str,
    *paths: str,
    who: Sequence[str] = ("alice@R",),
    groups: Sequence[str] = (),
    networks: Sequence[str] = (),
    actions: Sequence[Action] = EVERYTHING,
    require: Requirements = Requirements(),  # noqa: B008  # frozen
) -> SecretRule:
    return SecretRule(
        name=name,
        principals=tuple(map(PrincipalPattern.parse, who)),
        groups=tuple(groups),
        networks=tuple(map(ip_network, networks)),
        require=require,
        paths=tuple(map(PathPattern.parse, paths)),
        actions=frozenset(actions),
    )


def somebody(who: str = "alice@R", **members: object) -> Identity:
    made = Identity(
        principal=Principal.parse(who),
        ticket_end=NOW + timedelta(hours=8),
        authenticated_at=NOW,
        channel_bound=False,
        indicators=frozenset(),
        groups=frozenset(),
        mutual_token=None,
    )
    return replace(made, **members)  # type: ignore[arg-type]


def ask(*rules: SecretRule, path: str = "team-a/db", action: Action = Action.READ, **caller: object) -> Permit:
    members = {"identity": somebody(), "address": HERE, "now": NOW} | caller
    return permit(rules, Caller(**members), path=path, action=action)  # type: ignore[arg-type]


def test_a_permit_names_path_action_and_rule() -> None:
    assert ask(rule("db", "team-a/*")) == Permit(path="team-a/db", action=Action.READ, rule="db")


def test_without_a_rule_nobody_may_do_anything() -> None:
    with pytest.raises(AccessDenied) as caught:
        ask()
    assert (caught.value.reason, caught.value.hint) == ("no_secret_rule", None)


@pytest.mark.parametrize("who", ["Alice@R", "alice@S", "alice/admin@R", "alice@r"])
def test_somebody_else_may_not(who: str) -> None:
    with pytest.raises(AccessDenied):
        ask(rule("db", "team-a/*"), identity=somebody(who))


@pytest.mark.parametrize("allowed", list(Action))
@pytest.mark.parametrize("asked", list(Action))
def test_a_rule_allows_what_it_names_and_no_other_action(allowed: Action, asked: Action) -> None:
    if allowed is asked:
        assert ask(rule("db", "**", actions=[allowed]), action=asked).rule == "db"
        return
    with pytest.raises(AccessDenied):
        ask(rule("db", "**", actions=[allowed]), action=asked)


@pytest.mark.parametrize("address", [ip_address("10.1.0.1"), None])
def test_a_rule_holds_in_its_networks_only_and_a_local_socket_is_in_none(address: object) -> None:
    with pytest.raises(AccessDenied):
        ask(rule("db", "**", networks=["127.0.0.0/8"]), address=address)


def test_a_weak_ticket_is_told_what_is_needed_and_another_rule_does_without() -> None:
    strong = rule("strong", "**", require=OTP)
    with pytest.raises(StepUpRequired, match="ticket_too_weak") as caught:
        ask(strong)
    assert "otp" in (caught.value.hint or "")
    assert ask(strong, identity=somebody(indicators=frozenset({"otp"}))).rule == "strong"
    assert ask(strong, rule("weak", "team-a/db")).rule == "weak"


def test_a_ticket_that_is_too_old_is_stepped_up_to_its_last_second() -> None:
    fresh = rule("fresh", "**", require=Requirements(max_ticket_age=timedelta(hours=1)))
    assert ask(fresh, now=NOW + timedelta(hours=1)).rule == "fresh"
    with pytest.raises(StepUpRequired):
        ask(fresh, now=NOW + timedelta(hours=1, seconds=1))


def test_a_reason_is_asked_for_and_held_against_its_pattern() -> None:
    reasoned = rule("reasoned", "**", require=Requirements(reason="INC-[0-9]+"))
    for reason, why in ((None, "reason_missing"), ("please", "reason_unfit")):
        with pytest.raises(ApprovalRequired) as caught:
            ask(reasoned, reason=reason)
        assert caught.value.reason == why
    assert ask(reasoned, reason="INC-7 db is down").rule == "reasoned"


def test_while_groups_are_unknown_nobody_is_told_that_they_may_not() -> None:
    with pytest.raises(DirectoryUnavailable):
        ask(rule("g", "**", who=(), groups=["S-1-5-21-1-2-3-4"]), identity=somebody(groups_unknown="directory_timeout"))
    assert ask(rule("db", "**"), identity=somebody(groups_unknown="directory_timeout")).rule == "db"


def test_a_list_shows_what_may_be_listed_and_nothing_else() -> None:
    rules = [rule("a", "team-a/*", actions=[Action.LIST]), rule("read", "**", actions=[Action.READ])]
    caller = Caller(identity=somebody(), address=HERE, now=NOW)
    found, is_visible = visible_below(rules, caller, prefix="")
    assert (found, is_visible("team-a/db"), is_visible("team-a/db/x"), is_visible("team-b/db")) == (
        "a",
        True,
        False,
        False,
    )
    for prefix in ("team-b", "team-a/db"):
        with pytest.raises(AccessDenied):
            visible_below(rules, caller, prefix=prefix)


_RULES = st.builds(
    lambda who, groups, paths, actions, networks, require: rule(
        "r", *paths, who=who, groups=groups, actions=actions, networks=networks, require=require
    ),
    st.lists(st.sampled_from(["alice@R", "*@R", "*/admin@R", "mallory@R"]), max_size=2),
    st.lists(st.sampled_from(["S-1-5-21-1-2-3-4", "R\\dev"]), max_size=1),
    st.lists(st.sampled_from(["**", "a/*", "a/b", "*/b", "a/**"]), min_size=1, max_size=2),
    st.lists(st.sampled_from(list(Action)), min_size=1, max_size=3),
    st.lists(st.sampled_from(["10.0.0.0/8", "127.0.0.0/8"]), max_size=1),
    st.sampled_from([Requirements(), OTP, Requirements(reason="")]),
)
_ASKED = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["a", "a/b", "a/c", "b/b", "a/b/c"]),
        "action": st.sampled_from(list(Action)),
        "address": st.sampled_from([None, HERE, ip_address("10.0.0.1")]),
        "reason": st.sampled_from([None, "because"]),
        "identity": st.builds(
            somebody,
            st.sampled_from(["alice@R", "mallory@R", "alice/admin@R", "HTTP/x@R"]),
            groups=st.sets(st.sampled_from(["S-1-5-21-1-2-3-4", "R\\dev"])).map(frozenset),
            indicators=st.sampled_from([frozenset(), frozenset({"otp"})]),
            groups_unknown=st.sampled_from([None, "directory_timeout"]),
        ),
    }
)


def is_allowed(rules: Sequence[SecretRule], asked: dict[str, object]) -> bool:
    try:
        ask(*rules, **asked)  # type: ignore[arg-type]
    except BrokerError:
        return False
    return True


@given(st.lists(_RULES, max_size=4), _RULES, st.integers(0, 4), _ASKED)
def test_adding_a_rule_never_takes_anything_away(
    rules: list[SecretRule], more: SecretRule, place: int, asked: dict[str, object]
) -> None:
    if is_allowed(rules, asked):
        assert is_allowed([*rules[:place], more, *rules[place:]], asked)


@given(st.lists(_RULES, max_size=4), _ASKED)
def test_whoever_is_allowed_is_allowed_by_one_rule_alone(rules: list[SecretRule], asked: dict[str, object]) -> None:
    assert is_allowed(rules, asked) == any(is_allowed([one], asked) for one in rules)


@given(st.lists(_RULES, max_size=4), _ASKED)
def test_what_a_list_shows_is_what_may_be_listed_one_by_one(rules: list[SecretRule], asked: dict[str, object]) -> None:
    listing = asked | {"action": Action.LIST}
    path = str(listing.pop("path"))
    caller = Caller(identity=listing["identity"], address=listing["address"], now=NOW, reason=listing["reason"])  # type: ignore[arg-type]
    try:
        _, is_visible = visible_below(rules, caller, prefix="")
    except BrokerError:
        assert not is_allowed(rules, listing | {"path": path})
        return
    assert is_visible(path) == is_allowed(rules, listing | {"path": path})
