"""The DER reader and SPNEGO: nothing but `AuthFailed` leaves them, and no token has two authenticators.

What a token is remembered by, so that it counts once, is the ciphertext of its authenticator. Whoever could make a token in which
our reader finds other bytes than Kerberos does could use one ticket twice. So two other readers, which take what a careless one
would take, the first or the last of what stands there twice, must find the same bytes wherever ours finds any.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from broker.authn import spnego
from broker.core.errors import AuthFailed
from tests.fuzz import der_tree

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

VECTORS = Path(__file__).parents[1] / "vectors" / "tokens"

_APPLICATION_0, _AP_REQ, _SEQUENCE, _OCTET_STRING, _CONTEXT = 0x60, 0x6E, 0x30, 0x04, 0xA0
_SPNEGO_OID = bytes.fromhex("2b0601050502")
_TOKEN_ID_BYTES = 2

# NTLM, bare and as the only mechanism of a SPNEGO token.
_NTLM = (
    b"NTLMSSP\x00\x01\x00\x00\x00",
    bytes.fromhex("601c06062b0601050502a0123010a00e300c060a2b06010401823702020a"),
)


def seeds() -> Iterator[bytes]:
    for path in sorted(VECTORS.glob("*.b64")):
        yield base64.b64decode(path.read_text("ascii"))
    yield from _NTLM


def one_input(data: bytes) -> None:
    spnego.offers_only_ntlm(data)
    code = spnego.error_code(data)
    assert code is None or isinstance(code, int)
    try:
        found = spnego.authenticator(spnego.UnverifiedToken(data))
    except AuthFailed as error:
        assert error.reason in {"token_malformed", "mechanism_unknown"}, error.reason
        return
    assert found in data
    for which in (0, -1):
        assert careless(data, which) == found


def mutate(data: bytes, chance: random.Random) -> bytes:
    return der_tree.mutated(data, chance)


def careless(token: bytes, which: int) -> bytes:
    """The authenticator as somebody reads it who passes over what is unknown and takes the first (0) or last (-1) of several."""
    content = inside(token, _APPLICATION_0, which)
    _, oid, rest = der_tree.split(content)
    if oid == _SPNEGO_OID:
        init = inside(inside(rest, _CONTEXT, which), _SEQUENCE, which)
        mech_token = inside(inside(init, _CONTEXT + 2, which), _OCTET_STRING, which)
        _, _, rest = der_tree.split(inside(mech_token, _APPLICATION_0, which))
    request = inside(inside(rest[_TOKEN_ID_BYTES:], _AP_REQ, which), _SEQUENCE, which)
    encrypted = inside(inside(request, _CONTEXT + 4, which), _SEQUENCE, which)
    return inside(inside(encrypted, _CONTEXT + 2, which), _OCTET_STRING, which)


def inside(content: bytes, tag: int, which: int) -> bytes:
    return [value for found, value in der_tree.elements(content) if found == tag][which]
