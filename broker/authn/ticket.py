"""What an accepted ticket says beside the name, and which tickets are not taken although Kerberos is content with them.

Kerberos answers for the name and, in krb5_rd_req, for the realms on the way of a foreign ticket (RFC 4120 section 2.7: the KDC's
TRANSITED-POLICY-CHECKED flag, or the acceptor's own capaths). That the session uses a strong cipher and that nobody else made
the ticket in the user's name (S4U) is asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import gssapi
from gssapi import raw
from gssapi.raw.named_tuples import AcceptSecContextResult

from broker.authn import pac
from broker.core.errors import AccessDenied, AuthFailed
from broker.core.principal import Principal

# GSS_C_INQ_SSPI_SESSION_KEY; its last arc is the session's encryption type.
_SESSION_KEY = gssapi.OID.from_int_seq("1.2.840.113554.1.2.2.5.5")
# RFC 3962 and RFC 8009.
_AES = frozenset({17, 18, 19, 20})

_INDICATORS = b"auth-indicators"
_LOGON_INFO = b"urn:mspac:logon-info"
# MS-PAC 2.9: present in tickets that a service obtained in a user's name (S4U2Proxy).
_DELEGATION_INFO = b"urn:mspac:delegation-info"

_CANONICAL = "log in with the account's own name, as the directory writes it (kinit -C finds it)"

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class RealmRules:
    """What one realm's tickets must be like. ``domain_sid`` filters groups: others' SIDs do not count."""

    domain_sid: str | None = None
    require_pac: bool = False
    allow_impersonation: bool = False


class Ticket(NamedTuple):
    """The facts, before any of them was judged. ``logon`` is None without Active Directory's part of a PAC.

    ``transited`` are the services that obtained the ticket in the user's name (S4U2Proxy), and None where it is the user's own
    or was made by our own service's account for itself.
    """

    enctype: int
    authenticated_at: datetime
    indicators: frozenset[str]
    logon: pac.Logon | None
    transited: tuple[str, ...] | None

    @classmethod
    def of(cls, accepted: AcceptSecContextResult) -> Ticket:
        """Read them off an accepted context.

        Raises:
            gssapi.raw.GSSError: It holds less than any Kerberos context does.
            AuthFailed: A PAC that cannot be read.
        """
        context, name = accepted.context, accepted.initiator_name
        present = frozenset(raw.inquire_name(name, mech_name=False).attrs or ())
        indicators = frozenset(_values(name, _INDICATORS)) if _INDICATORS in present else frozenset()
        return cls(
            enctype=_enctype(context),
            authenticated_at=datetime.fromtimestamp(raw.krb5_extract_authtime_from_sec_context(context), UTC),
            indicators=frozenset(value.decode("ascii", "replace") for value in indicators),
            logon=_logon(name) if _LOGON_INFO in present else None,
            transited=_transited(name) if _DELEGATION_INFO in present else None,
        )

    def admit(self, principal: Principal, *, realms: Mapping[str, RealmRules]) -> frozenset[str]:
        """Judge, and return the groups that count: SIDs of the realm's own domain.

        Raises:
            AccessDenied: A realm that is not served.
            AuthFailed: A weak session key, no PAC where one is required, another name than the account's, or a ticket that
                somebody else made.
        """
        rules = realms.get(principal.realm)
        if rules is None:
            # Trust between realms is the KDC's word; whom we serve is ours.
            raise AccessDenied(reason="realm_not_allowed")
        if self.enctype not in _AES:
            raise AuthFailed(reason="session_key_not_aes")
        if rules.require_pac and self.logon is None:
            raise AuthFailed(reason="pac_missing")
        if self.logon is not None and rules.domain_sid not in (None, self.logon.domain_sid):
            raise AuthFailed(reason="pac_of_another_domain")
        if self.logon is not None and _is_plain(principal) and principal.components[0] != self.logon.account:
            # Else ANNA would be somebody else than anna, whom a revocation or a limit names; and the machine BOB$ would be bob.
            raise AuthFailed(reason="name_not_of_account", hint=_CANONICAL)
        if self.impersonated_by is not None and not rules.allow_impersonation:
            raise AuthFailed(reason="impersonated")
        # A service's name says nothing of its account's, in whatever case it came: it counts by itself alone.
        if self.logon is None or rules.domain_sid is None or not _is_plain(principal):
            return frozenset()
        return frozenset(sid for sid in self.logon.groups if pac.within(rules.domain_sid, sid))

    @property
    def impersonated_by(self) -> tuple[str, ...] | None:
        """Who made the ticket in the user's name, as far as it says: nothing for S4U2Self. None: the user was there."""
        if self.transited is None and self.logon is not None and pac.SERVICE_ASSERTED_IDENTITY in self.logon.groups:
            return ()
        return self.transited


def _is_plain(principal: Principal) -> bool:
    return len(principal.components) == 1


def _enctype(context: raw.SecurityContext) -> int:
    _, oid = raw.inquire_sec_context_by_oid(context, _SESSION_KEY)
    # The OID's elements as DER; an encryption type below 128 is its last byte.
    return int(oid[-1])


def _values(name: raw.Name, attribute: bytes) -> list[bytes]:
    found = raw.get_name_attribute(name, attribute)
    # What is not authenticated came from the client itself.
    return list(found.values) if found.authenticated else []


def _logon(name: raw.Name) -> pac.Logon | None:
    return _read(name, _LOGON_INFO, pac.groups)


def _transited(name: raw.Name) -> tuple[str, ...]:
    # Unsigned names say nothing, but that there are any keeps saying that this is not the user.
    return _read(name, _DELEGATION_INFO, pac.transited) or ()


def _read(name: raw.Name, attribute: bytes, reader: Callable[[bytes], _Part]) -> _Part | None:
    values = _values(name, attribute)
    if len(values) > 1:
        raise AuthFailed(reason="pac_malformed")
    if not values:
        return None
    try:
        return reader(values[0])
    except pac.MalformedPac as error:
        raise AuthFailed(str(error), reason="pac_malformed") from error
