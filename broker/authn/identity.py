"""Which of the names that Kerberos delivers count as somebody.

MIT's acceptor hands on whatever the ticket says: names of any trusted realm, anonymous, empty, with spaces, control characters
or look-alike letters. What passes here is plain: RFC 4120 section 5.2.1 asks for names in IA5String (ASCII) for
interoperability, and of that we take what people, hosts and services are called.
"""

from __future__ import annotations

import re
from functools import lru_cache

from broker.core.errors import AuthFailed
from broker.core.principal import MalformedPrincipal, Principal

_COMPONENT = re.compile(r"[A-Za-z0-9._+~$-]{1,128}")
_COMPONENTS_MAX = 4
# RFC 8062: the anonymous principal and its realm.
_WELLKNOWN = "WELLKNOWN"
# A longer printed name is no name; it would only fill logs.
_PRINTED_MAX = 600
_REMEMBERED = 4096


@lru_cache(maxsize=_REMEMBERED)
def principal_from(printed: bytes, *, anonymous: bool) -> Principal:
    """The principal that GSS-API printed, if it is one that may be known here.

    Args:
        printed: As krb5_unparse_name() prints it, so that quoting keeps components and realm apart.
        anonymous: GSS-API calls the name anonymous.

    Raises:
        AuthFailed: Not a name that any rule could mean.
    """
    if len(printed) > _PRINTED_MAX:
        raise AuthFailed(reason="name_too_long")
    try:
        principal = Principal.parse(printed.decode("ascii"))
    except (UnicodeDecodeError, MalformedPrincipal) as error:
        raise AuthFailed(reason="name_malformed") from error
    if anonymous or principal.components[0] == _WELLKNOWN or principal.realm.startswith(_WELLKNOWN):
        raise AuthFailed(reason="name_anonymous")
    if len(principal.components) > _COMPONENTS_MAX or not all(map(_COMPONENT.fullmatch, principal.components)):
        raise AuthFailed(reason="name_malformed")
    return principal
