"""What counts of what stands in an accepted context, and whom it counts for: the branches that no honest KDC walks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.authn import ticket
from broker.authn.ticket import RealmRules, Ticket
from broker.core.errors import AccessDenied, AuthFailed
from broker.core.principal import Principal

PAC = Path(__file__).parents[2] / "vectors" / "pac"
LOGON_INFO, INDICATORS, DELEGATION = b"urn:mspac:logon-info", b"auth-indicators", b"urn:mspac:delegation-info"
AES256, RC4 = 18, 23
# 1.2.840.113554.1.2.2.5.5 and the encryption type.
SESSION_KEY_OID = bytes.fromhex("2a864886f7120102020505")


class Library:
    """What GSS-API would say of one context. ``attributes`` are values by name, and whether they are the KDC's word."""

    def __init__(self, *, enctype: int = AES256, **attributes: tuple[list[bytes], bool]) -> None:
        self._enctype = enctype
        self._attributes = {name.encode(): said for name, said in attributes.items()}

    def inquire_name(self, _name: object, *, mech_name: bool) -> SimpleNamespace:
        assert not mech_name
        return SimpleNamespace(attrs=list(self._attributes) or None)

    def get_name_attribute(self, _name: object, attribute: bytes) -> SimpleNamespace:
        values, authenticated = self._attributes[attribute]
        return SimpleNamespace(values=values, authenticated=authenticated)

    def inquire_sec_context_by_oid(self, _context: object, _oid: object) -> list[bytes]:
        return [b"the session key", SESSION_KEY_OID + bytes([self._enctype])]

    def krb5_extract_authtime_from_sec_context(self, _context: object) -> int:
        return 1_780_000_000


def facts(monkeypatch: pytest.MonkeyPatch, library: Library) -> Ticket:
    monkeypatch.setattr(ticket, "raw", library)
    return Ticket.of(cast("Any", SimpleNamespace(context=object(), initiator_name=object())))


def said(attribute: bytes, *values: bytes, authenticated: bool = True) -> dict[str, tuple[list[bytes], bool]]:
    return {attribute.decode(): (list(values), authenticated)}


def test_a_plain_ticket_has_a_cipher_and_a_time_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert facts(monkeypatch, Library()) == Ticket(
        enctype=AES256,
        authenticated_at=datetime.fromtimestamp(1_780_000_000, UTC),
        indicators=frozenset(),
        logon=None,
        transited=None,
    )
    assert facts(monkeypatch, Library(enctype=RC4)).enctype == RC4


def test_indicators_are_taken_as_the_kdc_says_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = facts(monkeypatch, Library(**said(INDICATORS, b"otp", b"pkinit", b"radius\xe9")))
    assert found.indicators == {"otp", "pkinit", "radius\ufffd"}


def test_what_the_client_said_of_itself_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    logon = (PAC / "one.ndr").read_bytes()
    library = Library(
        **said(INDICATORS, b"pkinit", authenticated=False), **said(LOGON_INFO, logon, authenticated=False)
    )
    found = facts(monkeypatch, library)
    assert (found.indicators, found.logon) == (frozenset(), None)
    with pytest.raises(AuthFailed) as refused:
        found.admit(Principal(("alice",), "R"), realms={"R": RealmRules(require_pac=True)})
    assert refused.value.reason == "pac_missing"


def test_a_pac_of_the_kdc_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found = facts(monkeypatch, Library(**said(LOGON_INFO, (PAC / "one.ndr").read_bytes())))
    assert found.logon is not None
    assert found.logon.groups


def test_two_pacs_are_refused_and_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    logon = (PAC / "one.ndr").read_bytes()
    with pytest.raises(AuthFailed) as refused:
        facts(monkeypatch, Library(**said(LOGON_INFO, logon, logon)))
    assert refused.value.reason == "pac_malformed"
    assert facts(monkeypatch, Library(**said(LOGON_INFO))).logon is None


@pytest.mark.parametrize("content", [b"", b"garbage", (PAC / "one.ndr").read_bytes()[:-8]])
def test_a_pac_that_cannot_be_read_is_refused_and_not_left_out(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with pytest.raises(AuthFailed) as refused:
        facts(monkeypatch, Library(**said(LOGON_INFO, content)))
    assert refused.value.reason == "pac_malformed"


@pytest.mark.parametrize(
    ("authenticated", "transited"),
    [(True, ("HTTP/front.localhost@AD.EXAMPLE.COM", "cifs/böx@AD.EXAMPLE.COM")), (False, ())],
)
def test_the_mark_of_delegation_counts_whoever_made_it_and_its_names_as_the_kdcs_word_alone(
    monkeypatch: pytest.MonkeyPatch, *, authenticated: bool, transited: tuple[str, ...]
) -> None:
    delegated = (PAC / "delegated.ndr").read_bytes()
    found = facts(monkeypatch, Library(**said(DELEGATION, delegated, authenticated=authenticated)))
    assert found.impersonated_by == transited
    with pytest.raises(AuthFailed) as refused:
        found.admit(Principal(("alice",), "R"), realms={"R": RealmRules()})
    assert refused.value.reason == "impersonated"


@pytest.mark.parametrize("content", [b"", b"garbage", (PAC / "one.ndr").read_bytes()])
def test_a_delegation_that_cannot_be_read_is_refused_and_not_left_out(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    with pytest.raises(AuthFailed) as refused:
        facts(monkeypatch, Library(**said(DELEGATION, content)))
    assert refused.value.reason == "pac_malformed"


@pytest.mark.parametrize("realm", ["PARTNER.EXAMPLE", "example.com", "EXAMPLE.COM.", "EXAMPLE.COM ", ""])
def test_a_realm_that_is_not_listed_exactly_is_refused(monkeypatch: pytest.MonkeyPatch, realm: str) -> None:
    found, realms = facts(monkeypatch, Library()), {"EXAMPLE.COM": RealmRules()}
    assert found.admit(Principal(("alice",), "EXAMPLE.COM"), realms=realms) == frozenset()
    with pytest.raises(AccessDenied) as refused:
        found.admit(Principal(("alice",), realm), realms=realms)
    assert refused.value.reason == "realm_not_allowed"


def test_a_realm_that_is_not_served_learns_nothing_of_what_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    found = facts(monkeypatch, Library(enctype=RC4, **said(DELEGATION, b"", authenticated=False)))
    with pytest.raises(AccessDenied) as refused:
        found.admit(Principal(("alice",), "ELSEWHERE"), realms={"EXAMPLE.COM": RealmRules(require_pac=True)})
    assert refused.value.reason == "realm_not_allowed"
