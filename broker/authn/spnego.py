"""SPNEGO and the header that carries it (RFC 4559, RFC 4178). Bytes only: no library, no network, no trust."""

from __future__ import annotations

import base64
import binascii
from typing import NewType

from broker.authn import der
from broker.core.errors import AuthFailed, AuthRequired

UnverifiedToken = NewType("UnverifiedToken", bytes)

SCHEME = "Negotiate"

_NTLM_SIGNATURE = b"NTLMSSP\x00"
# 1.3.6.1.4.1.311.2.2.10, as DER writes it behind tag and length.
_NTLM_OID = bytes.fromhex("2b06010401823702020a")
_SPNEGO_OID = bytes.fromhex("2b0601050502")
_KERBEROS_OID = bytes.fromhex("2a864886f712010202")

_APPLICATION_0 = 0x60
_AP_REQ = 0x6E  # [APPLICATION 14], RFC 4120 section 5.5.1
_AP_REQ_TOKEN_ID = b"\x01\x00"  # RFC 4121 section 4.1
_KRB_ERROR = 0x7E  # [APPLICATION 30], RFC 4120 section 5.9.1
_KRB_ERROR_TOKEN_ID = b"\x03\x00"  # RFC 1964 section 1.1
_CONTEXT = 0xA0
_SEQUENCE, _OID, _OCTET_STRING, _INTEGER = 0x30, 0x06, 0x04, 0x02
# RFC 4120 sections 5.5.1 (AP-REQ, all of whose members are required) and 5.2.9 (EncryptedData, where the kvno may be missing).
_OF_REQUEST = frozenset(range(_CONTEXT, _CONTEXT + 5))
_OF_ENCRYPTED, _MAYBE_OF_ENCRYPTED = frozenset({_CONTEXT, _CONTEXT + 2}), frozenset({_CONTEXT + 1})
# RFC 4178 section 4.2.1; [3] is negHints or mechListMIC, [4] mechListMIC.
_OF_INIT, _MAYBE_OF_INIT = frozenset({_CONTEXT, _CONTEXT + 2}), frozenset({_CONTEXT + 1, _CONTEXT + 3, _CONTEXT + 4})


def unverified_token(authorization: str | None) -> UnverifiedToken:
    """The token in an ``Authorization`` header.

    Raises:
        AuthRequired: No header: the client is to be challenged.
        AuthFailed: Another scheme, no base64, an empty token, or NTLM where Kerberos is needed.
    """
    if authorization is None:
        raise AuthRequired(reason="no_token")
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != SCHEME.lower():
        raise AuthFailed(reason="other_scheme")
    try:
        token = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise AuthFailed(reason="not_base64") from error
    if not token:
        raise AuthFailed(reason="empty_token")
    if offers_only_ntlm(token):
        raise AuthFailed(
            reason="ntlm_offered",
            hint="the client offered NTLM, this broker takes Kerberos: run kinit, and use the broker's full host name",
        )
    return UnverifiedToken(token)


def offers_only_ntlm(token: bytes) -> bool:
    """Whether this is an NTLM token, bare or as the only mechanism of a SPNEGO one."""
    if token.startswith(_NTLM_SIGNATURE):
        return True
    if _NTLM_OID not in token:
        return False
    try:
        return _mechanisms(token) == [_NTLM_OID]
    except der.Malformed:
        return False


def authenticator(token: UnverifiedToken) -> bytes:
    """The encrypted authenticator of the AP-REQ in a token: what makes this use of the ticket this use.

    Everything around it can be altered without Kerberos noticing (about one bit in sixteen), so whether a token was used
    before is asked of these bytes, and a token in which two readers could find different ones is refused.

    Raises:
        AuthFailed: Not a Kerberos token, or not in the one form that leaves no choice.
    """
    try:
        content = der.only(token, _APPLICATION_0)
        _, oid, after_oid = der.read(content)
        if oid == _SPNEGO_OID:
            content = der.only(_mech_token(content[after_oid:]), _APPLICATION_0)
            _, oid, after_oid = der.read(content)
        if oid != _KERBEROS_OID or content[after_oid : after_oid + 2] != _AP_REQ_TOKEN_ID:
            raise AuthFailed(reason="mechanism_unknown")
        request = der.only(der.only(content[after_oid + 2 :], _AP_REQ), _SEQUENCE)
        content = der.only(der.sequence(request, required=_OF_REQUEST)[_CONTEXT + 4], _SEQUENCE)
        encrypted = der.sequence(content, required=_OF_ENCRYPTED, optional=_MAYBE_OF_ENCRYPTED)
        return der.only(encrypted[_CONTEXT + 2], _OCTET_STRING)
    except der.Malformed as error:
        raise AuthFailed(str(error), reason="token_malformed") from error


def error_code(token: bytes | None) -> int | None:
    """The code of the KRB-ERROR that an acceptor wants to answer with, wrapped in SPNEGO or not; None where it has none."""
    if token is None:
        return None
    try:
        tag, content, _ = der.read(token)
        if tag == _CONTEXT + 1:  # NegTokenResp; responseToken is its [2], RFC 4178 section 4.2.2
            wrapped = der.child(der.child(content, _SEQUENCE), _CONTEXT + 2)
            tag, content, _ = der.read(der.child(wrapped, _OCTET_STRING))
        if tag != _APPLICATION_0:
            return None
        _, _, after_oid = der.read(content)
        if content[after_oid : after_oid + 2] != _KRB_ERROR_TOKEN_ID:
            return None
        error = der.child(content[after_oid + 2 :], _KRB_ERROR)
        code = der.child(der.child(error, _SEQUENCE), _CONTEXT + 6)
        return int.from_bytes(der.child(code, _INTEGER), "big", signed=True)
    except der.Malformed:
        return None


def _mech_token(init: bytes) -> bytes:
    """The mechToken of a NegTokenInit."""
    content = der.only(der.only(init, _CONTEXT), _SEQUENCE)
    members = der.sequence(content, required=_OF_INIT, optional=_MAYBE_OF_INIT)
    return der.only(members[_CONTEXT + 2], _OCTET_STRING)


def _mechanisms(token: bytes) -> list[bytes]:
    """The mechTypes of a NegTokenInit (RFC 4178 section 4.2.1)."""
    content = der.child(token, _APPLICATION_0)
    _, oid, after_oid = der.read(content)
    if oid != _SPNEGO_OID:
        return []
    init = der.child(der.child(content[after_oid:], _CONTEXT), _SEQUENCE)
    mechanisms = der.child(der.child(init, _CONTEXT), _SEQUENCE)
    return [value for tag, value in der.children(mechanisms) if tag == _OID]
