"""DPoP proofs (RFC 9449): what an attacker writes, and what he signs with a key of his own, is refused or is what it claims.

The first byte says which: a whole proof as text, or header and claims, divided by a line feed, signed properly. So claims that no
honest client makes get past the signature.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.authn import dpop
from broker.core.errors import AuthFailed
from broker.core.identity import UnverifiedProof

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = int(NOON.timestamp())
METHOD, URL, TOKEN = "POST", "https://broker.example.com/v1/credentials", "a-session"
ATH = base64.urlsafe_b64encode(hashlib.sha256(TOKEN.encode()).digest()).rstrip(b"=").decode()
# RFC 8037, appendix A: anybody's.
KEY = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
HEADER = json.dumps({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": JWK}).encode()
CLAIMS = {"jti": "1", "htm": METHOD, "htu": URL, "iat": SECONDS, "ath": ATH}

_SIGNED, _CLAIMS_ONLY = 1, 2


def signed(header: bytes, claims: bytes) -> str:
    first = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    return b".".join((first, base64.urlsafe_b64encode(KEY.sign(first)).rstrip(b"="))).decode()


def seeds() -> Iterator[bytes]:
    claims = json.dumps(CLAIMS).encode()
    yield bytes([_CLAIMS_ONLY]) + claims
    yield bytes([_SIGNED]) + HEADER + b"\n" + claims
    yield b"\0" + signed(HEADER, claims).encode()
    for name, value in (
        ("iat", 1e999),
        ("exp", SECONDS + 1),
        ("nbf", -1),
        ("jti", "\ud800"),
        ("htu", URL + ":443#x?y"),
    ):
        yield bytes([_CLAIMS_ONLY]) + json.dumps(CLAIMS | {name: value}).encode()
    # As deep as a proof of the longest length can be.
    yield bytes([_CLAIMS_ONLY]) + b"[" * 2_700
    es256 = {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}
    for header in ({"typ": "dpop+jwt", "alg": "ES256", "jwk": es256}, {"typ": "dpop+jwt", "alg": "none", "jwk": JWK}):
        yield bytes([_SIGNED]) + json.dumps(header).encode() + b"\n" + claims


def one_input(data: bytes) -> None:
    kind, rest = data[:1], data[1:]
    if kind == bytes([_SIGNED]):
        header, _, claims = rest.partition(b"\n")
        text = signed(header, claims)
    elif kind == bytes([_CLAIMS_ONLY]):
        text = signed(HEADER, rest)
    else:
        text = rest.decode("utf-8", "surrogateescape")
    judge(text, thumbprint=None, token=None)
    judge(text, thumbprint=THUMBPRINT, token=TOKEN)


def judge(text: str, *, thumbprint: str | None, token: str | None) -> None:
    unverified = UnverifiedProof(text=text, method=METHOD, url=URL)
    try:
        proof = dpop.verified(unverified, now=NOON, thumbprint=thumbprint, token=token)
    except AuthFailed as error:
        assert (error.reason or "").startswith("dpop_"), error.reason
        return
    # No other key's owner has signed anything here.
    assert proof.thumbprint == THUMBPRINT
    middle = text.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    assert claims["htm"] == METHOD
    assert abs(claims["iat"] - SECONDS) <= dpop.LEEWAY.total_seconds()
    assert token is None or claims["ath"] == ATH
    assert claims["jti"].encode("utf-8", "backslashreplace") in proof.use
