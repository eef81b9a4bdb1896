"""Which tickets are not taken although Kerberos is content with them, and which of their groups count."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.authn import pac
from broker.authn.ticket import RealmRules, Ticket
from broker.core.errors import AccessDenied, AuthFailed, BrokerError
from broker.core.principal import Principal

PAC = Path(__file__).parents[2] / "vectors" / "pac"
ALICE = Principal.parse("alice@AD.EXAMPLE.COM")
REALM = "AD.EXAMPLE.COM"
OURS, THEIRS = "S-1-5-21-1-2-3", "S-1-5-21-9-9-9"
LOGON = pac.Logon(
    account="alice",
    domain_sid=OURS,
    user_sid=f"{OURS}-1000",
    groups=frozenset({f"{OURS}-1105", f"{THEIRS}-1105", "S-1-5-11"}),
)
PLAIN = Ticket(
    enctype=18,
    authenticated_at=datetime(2026, 5, 4, tzinfo=UTC),
    indicators=frozenset(),
    logon=None,
    transited=None,
)
OF_A_DOMAIN = PLAIN._replace(logon=LOGON)
ASSERTED = replace(LOGON, groups=LOGON.groups | {pac.SERVICE_ASSERTED_IDENTITY})


@pytest.mark.parametrize("enctype", [17, 18, 19, 20])
def test_aes_sessions_are_taken(enctype: int) -> None:
    assert PLAIN._replace(enctype=enctype).admit(ALICE, realms={REALM: RealmRules()}) == frozenset()


@pytest.mark.parametrize("enctype", [1, 3, 16, 23, 24, 25, 26])
def test_sessions_of_des_rc4_and_camellia_are_refused(enctype: int) -> None:
    assert refusal(PLAIN._replace(enctype=enctype), RealmRules()) == (AuthFailed, "session_key_not_aes")


def test_a_realm_that_is_not_served_is_denied_whatever_its_ticket_says() -> None:
    with pytest.raises(AccessDenied) as raised:
        OF_A_DOMAIN.admit(ALICE, realms={"ad.example.com": RealmRules(), "EXAMPLE.COM": RealmRules()})
    assert raised.value.reason == "realm_not_allowed"


@pytest.mark.parametrize(
    ("ticket", "by"),
    [
        (PLAIN._replace(transited=("HTTP/front@R",)), ("HTTP/front@R",)),
        (PLAIN._replace(transited=("HTTP/front@R",), logon=ASSERTED), ("HTTP/front@R",)),
        (PLAIN._replace(transited=()), ()),
        (PLAIN._replace(logon=ASSERTED), ()),
    ],
)
def test_a_ticket_that_a_service_obtained_in_a_users_name_needs_the_operators_word(
    ticket: Ticket, by: tuple[str, ...]
) -> None:
    assert ticket.impersonated_by == by
    assert refusal(ticket, RealmRules()) == (AuthFailed, "impersonated")
    ticket.admit(ALICE, realms={REALM: RealmRules(allow_impersonation=True)})


def test_a_ticket_of_ones_own_is_nobodys_impersonation() -> None:
    assert PLAIN.impersonated_by is None
    assert OF_A_DOMAIN.impersonated_by is None


def test_a_ticket_without_pac_is_refused_only_where_one_is_required() -> None:
    assert refusal(PLAIN, RealmRules(require_pac=True)) == (AuthFailed, "pac_missing")
    assert PLAIN.admit(ALICE, realms={REALM: RealmRules(domain_sid=OURS)}) == frozenset()


def test_only_groups_of_the_realms_own_domain_count() -> None:
    assert OF_A_DOMAIN.admit(ALICE, realms={REALM: RealmRules(domain_sid=OURS)}) == {f"{OURS}-1105"}


def test_without_a_domain_of_the_realm_no_group_counts() -> None:
    assert OF_A_DOMAIN.admit(ALICE, realms={REALM: RealmRules()}) == frozenset()


def test_a_pac_of_another_domain_is_refused() -> None:
    assert refusal(OF_A_DOMAIN, RealmRules(domain_sid=THEIRS)) == (AuthFailed, "pac_of_another_domain")


def test_neither_extra_sids_nor_resource_groups_of_a_foreign_pac_reach_into_our_domain() -> None:
    # By the word of their own domain controller, its users are in groups of ours in both ways.
    logon = replace(pac.groups((PAC / "foreign.ndr").read_bytes()), account="alice")
    theirs, ours = logon.domain_sid, "S-1-5-21-1004336348-1177238915-682003330"
    assert {f"{ours}-519", f"{ours}-1401"} <= logon.groups
    counted = PLAIN._replace(logon=logon).admit(ALICE, realms={REALM: RealmRules(domain_sid=theirs)})
    assert counted
    assert not {sid for sid in counted if not sid.startswith(f"{theirs}-")}
    # And their realm cannot pass for our domain either.
    assert refusal(PLAIN._replace(logon=logon), RealmRules(domain_sid=ours)) == (AuthFailed, "pac_of_another_domain")


@pytest.mark.parametrize("name", ["Alice", "ALICE", "alice.liddell", "alice$"])
@pytest.mark.parametrize("rules", [RealmRules(), RealmRules(domain_sid=OURS), RealmRules(allow_impersonation=True)])
def test_whoever_comes_by_another_name_than_the_accounts_is_refused(name: str, rules: RealmRules) -> None:
    with pytest.raises(AuthFailed) as raised:
        OF_A_DOMAIN.admit(Principal.parse(f"{name}@{REALM}"), realms={REALM: rules})
    assert raised.value.reason == "name_not_of_account"


def test_a_machine_without_its_dollar_is_no_user() -> None:
    machine = PLAIN._replace(logon=replace(LOGON, account="alice$"))
    assert refusal(machine, RealmRules()) == (AuthFailed, "name_not_of_account")
    machine.admit(Principal.parse(f"alice$@{REALM}"), realms={REALM: RealmRules()})


def test_a_services_name_counts_by_itself_and_brings_no_groups() -> None:
    service = Principal.parse(f"HTTP/front@{REALM}")
    assert OF_A_DOMAIN.admit(service, realms={REALM: RealmRules(domain_sid=OURS)}) == frozenset()


def refusal(ticket: Ticket, rules: RealmRules) -> tuple[type[BrokerError], str]:
    with pytest.raises(BrokerError) as raised:
        ticket.admit(ALICE, realms={REALM: rules})
    return type(raised.value), raised.value.reason
