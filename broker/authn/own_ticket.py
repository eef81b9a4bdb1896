"""A ticket of the broker for itself, asked for with its own key and accepted with it: the way of every user's ticket.

Nothing is left of it: the tickets are in this process's memory, and the use of the ticket is noted in no replay cache, MIT's or
ours. Who asks in vain counts as one failed login of the service's principal, where a KDC counts those of services.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import gssapi
from gssapi import raw

from broker.authn import der
from broker.authn.acceptor import reason_of
from broker.authn.initiator import KRB5
from broker.authn.keytab import AcceptorKeys, Key

# Error codes of com_err for krb5 (krb5.h, ERROR_TABLE_BASE_krb5), as GSS-API shows them: without a sign.
_KRB5 = 2**32 - 1765328384
_REASONS = {
    6: "unknown",  # KDC_ERR_C_PRINCIPAL_UNKNOWN
    7: "unknown",  # KDC_ERR_S_PRINCIPAL_UNKNOWN
    12: "refused",  # KDC_ERR_POLICY
    14: "enctype",  # KDC_ERR_ETYPE_NOSUPP
    18: "locked",  # KDC_ERR_CLIENT_REVOKED
    23: "refused",  # KDC_ERR_KEY_EXP
    24: "stale",  # KDC_ERR_PREAUTH_FAILED
    31: "stale",  # KRB_AP_ERR_BAD_INTEGRITY: the answer is for another key than ours
    37: "skew",  # KRB_AP_ERR_SKEW
    156: "unreachable",  # KRB5_KDC_UNREACH
}
# How the acceptor calls keys that are not the KDC's.
_STALE = frozenset({"ticket_kvno_unknown", "ticket_altered", "keytab_unusable", "ticket_for_another_service"})

_AP_REQ, _TICKET, _SEQUENCE, _CONTEXT, _INTEGER = 0x6E, 0x61, 0x30, 0xA0, 0x02
_TOKEN_ID_BYTES = 2
_numbers = itertools.count()


class NoTicket(Exception):
    """There is none, or it does not open.

    ``reason``: ``unreachable``, ``unknown`` (the KDC does not know the name as one that asks), ``stale`` (other keys), ``skew``,
    ``enctype``, ``locked`` or ``refused``. The text is the library's.
    """

    def __init__(self, text: str, *, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Sealed:
    """With which of its keys for us the KDC seals tickets now: version and enctype (RFC 4120, EncryptedData of a Ticket)."""

    kvno: int
    enctype: int


def own_ticket(keys: AcceptorKeys, key: Key) -> Sealed:
    """Get one for the principal of ``key``, and accept it. Asks the KDC, which libkrb5 may do for half a minute.

    Raises:
        NoTicket: See there.
    """
    name = raw.import_name(f"{'/'.join(key.components)}@{key.realm}".encode(), gssapi.NameType.kerberos_principal)
    # Octets, not text: python-gssapi 1.12 frees what it encodes itself before GSS-API reads it.
    own: dict[bytes | str, bytes | str] = {
        b"client_keytab": keys.name.encode(),
        b"ccache": f"MEMORY:zerotrust-own-{next(_numbers)}".encode(),
    }
    try:
        credentials = raw.acquire_cred_from(own, name=name, usage="initiate").creds
        token = raw.init_sec_context(name, creds=credentials, mech=KRB5, flags=[]).token or b""
    except raw.GSSError as error:
        number = (error.min_code - _KRB5) % 2**32
        raise NoTicket(_words(error), reason=_REASONS.get(number, "refused")) from error
    _accept(keys, token)
    return _sealed(token)


def _accept(keys: AcceptorKeys, token: bytes) -> None:
    store: dict[bytes | str, bytes | str] = {b"keytab": keys.name.encode(), b"rcache": b"none:"}
    try:
        raw.accept_sec_context(token, acceptor_creds=raw.acquire_cred_from(store, usage="accept").creds)
    except raw.GSSError as error:
        said = reason_of(error)
        reason = "stale" if said in _STALE else "skew" if said == "clock_skew" else "refused"
        raise NoTicket(f"the ticket is not accepted ({said})", reason=reason) from error


def _sealed(token: bytes) -> Sealed:
    content = der.child(token, 0x60)
    _, _, after_oid = der.read(content)
    request = der.child(der.child(content[after_oid + _TOKEN_ID_BYTES :], _AP_REQ), _SEQUENCE)
    ticket = der.child(der.child(der.child(request, _CONTEXT + 3), _TICKET), _SEQUENCE)
    encrypted = der.child(der.child(ticket, _CONTEXT + 3), _SEQUENCE)
    enctype, kvno = (der.child(der.child(encrypted, _CONTEXT + place), _INTEGER) for place in (0, 1))
    return Sealed(kvno=int.from_bytes(kvno, "big"), enctype=int.from_bytes(enctype, "big", signed=True))


def _words(error: raw.GSSError) -> str:
    """The mechanism's own, without GSS-API's."""
    return str(error).rpartition("): ")[2] or str(error)
