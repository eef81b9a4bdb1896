"""`secrets.rules`: what a rule says, and what it cannot say."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from broker.assembly.operators import registered_keys, secret_signing_keys
from broker.config.restart import differing, digests
from broker.core.errors import ConfigurationError
from broker.core.pattern import PrincipalPattern
from broker.core.rule import Requirements
from broker.core.secret_path import PathPattern
from broker.core.secret_rule import Action, SecretRule
from tests.fakes.request_signer import RequestSigner

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


def key_of(who, signer):
    return json.dumps({"principal": who, "public_key": signer.public_pem})


def test_a_signature_that_nobody_could_make_is_not_asked_for(host, minimal):
    with pytest.raises(ConfigurationError, match="there is no key, so that nobody could sign a request"):
        secret_signing_keys(host.load(f"{minimal}secrets: {{require_signed_requests: true}}\n"), of_operators=[])


def test_an_operator_s_key_serves_for_secrets_and_belongs_to_nobody_else(host, minimal):
    one, other = RequestSigner.ed25519(), RequestSigner.ed25519()
    admin = (
        f'admin: {{principals: ["root/admin@EXAMPLE.COM"], signing_keys: [{key_of("root/admin@EXAMPLE.COM", one)}]}}\n'
    )

    def keys(signer):
        own = f"secrets: {{signing_keys: [{key_of('alice@EXAMPLE.COM', signer)}]}}\n"
        settings = host.load(minimal + admin + own)
        of_operators = registered_keys(settings.admin.signing_keys, section="admin")
        return [str(key.owner) for key in secret_signing_keys(settings, of_operators=of_operators)]

    assert keys(other) == ["root/admin@EXAMPLE.COM", "alice@EXAMPLE.COM"]
    with pytest.raises(ConfigurationError, match="holds the key of an operator under another name"):
        keys(one)
