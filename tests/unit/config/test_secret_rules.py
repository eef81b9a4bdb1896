"""`secrets.rules`: what a rule says, and what it cannot say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.config.restart import differing, digests
from broker.core.pattern import PrincipalPattern
from broker.core.rule import Requirements
from broker.core.secret_path import PathPattern
from broker.core.secret_rule import Action, SecretRule

RULE = "{name: db, paths: [team-a/*], principals: [alice@EXAMPLE.COM], actions: [read]}"


def with_rules(minimal: str, *rules: str) -> str:
    return f"{minimal}secrets: {{rules: [{', '.join(rules)}]}}\n"


def test_rules_come_as_the_other_rooms_know_them(host, minimal):
    asked = "require: {indicators: [otp], max_ticket_age: 1h, reason: INC-}, networks: [10.0.0.0/8]}"
    settings = host.load(with_rules(minimal, RULE.replace("actions: [read]}", f"actions: [list, read], {asked}")))
    assert settings.secret_rules == [
        SecretRule(
            name="db",
            principals=(PrincipalPattern.parse("alice@EXAMPLE.COM"),),
            groups=(),
            networks=settings.secret_rules[0].networks,
            require=Requirements(indicators=frozenset({"otp"}), max_ticket_age=timedelta(hours=1), reason="INC-"),
            paths=(PathPattern.parse("team-a/*"),),
            actions=frozenset({Action.LIST, Action.READ}),
        )
    ]
    assert str(settings.secret_rules[0].networks[0]) == "10.0.0.0/8"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("team-a/*", "team*"), "has a * where it cannot stand"),
        (("team-a/*", '"**/db"'), "has a * where it cannot stand"),
        (("team-a/*", "../x"), "is not the path of a secret"),
        (("principals: [alice@EXAMPLE.COM], ", ""), "names nobody"),
        (("EXAMPLE.COM", "OTHER.COM"), "is of a realm that is not accepted"),
        (("[read]", "[admin]"), "actions"),
        (("[read]", "[]"), "actions"),
        (("[team-a/*]", "[]"), "paths"),
        (("name: db", "name: a b"), "is not a rule's name"),
        (("actions:", "require: {approval: 1}, actions:"), "approval"),
        (("actions:", "roles: [developer], actions:"), "roles"),
    ],
    ids=str,
)
def test_a_rule_that_says_something_else_does_not_start(host, minimal, change, said):
    (problem,) = host.problems(with_rules(minimal, RULE.replace(*change)))
    assert said in problem
    assert "secrets.rules" in problem


def test_two_rules_of_one_name_do_not_start(host, minimal):
    (problem,) = host.problems(with_rules(minimal, RULE, RULE))
    assert "has several rules of one name" in problem


def test_groups_of_rules_about_secrets_are_looked_up_too(host, minimal):
    rule = RULE.replace("principals: [alice@EXAMPLE.COM]", 'groups: ["S-1-5-21-1-2-3-1105"]')
    text = with_rules(minimal, rule).replace("EXAMPLE.COM: {}", "EXAMPLE.COM: {domain_sid: S-1-5-21-1-2-3}")
    assert host.load(text).groups_that_count == {"S-1-5-21-1-2-3-1105"}


def test_rules_need_no_restart_and_everything_else_of_the_section_does(host, minimal):
    before = digests(host.load(with_rules(minimal)))
    assert differing(before, digests(host.load(with_rules(minimal, RULE)))) == []
    after = digests(host.load(f"{minimal}secrets: {{require_signed_requests: true}}\n"))
    assert differing(before, after) == ["secrets.require_signed_requests"]
