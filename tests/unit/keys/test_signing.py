"""Signatures: ours alone count, whatever header, key or spelling an attacker thinks of."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from broker.keys.signing import BadSignature, Ed25519Signer, KeySet, UnusableKeySet, base64url

SEED = bytes(range(32))
SIGNER = Ed25519Signer(seed=SEED)
KEYS = KeySet(jwks={"keys": [SIGNER.jwk()]})
PAYLOAD = b'{"seq":1}'


def encoded(value: dict[str, Any]) -> str:
    return base64url(json.dumps(value, separators=(",", ":")).encode()).decode()


def refused(jws: str, *, kid: str = SIGNER.kid, payload: bytes = PAYLOAD) -> None:
    with pytest.raises(BadSignature):
        KEYS.verify_detached(jws, kid=kid, payload=payload)
    header, _, signature = jws.partition("..")
    with pytest.raises(BadSignature):
        KEYS.verify_compact(f"{header}.{base64url(payload).decode()}.{signature}")


def test_what_was_signed_verifies() -> None:
    KEYS.verify_detached(SIGNER.sign_detached(PAYLOAD), kid=SIGNER.kid, payload=PAYLOAD)
    assert KEYS.verify_compact(SIGNER.sign_compact(PAYLOAD)) == PAYLOAD


def test_a_compact_jws_is_one_for_pyjwt_too() -> None:
    key = jwt.PyJWK(SIGNER.jwk())
    assert jwt.PyJWS().decode(SIGNER.sign_compact(PAYLOAD), key=key, algorithms=["EdDSA"]) == PAYLOAD


def test_the_key_id_is_the_thumbprint_of_rfc_8037() -> None:
    """Appendix A.3 of the RFC gives this very key and this very value."""
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    assert Ed25519Signer(seed=seed).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "kid": SIGNER.kid},
        {"alg": "None", "kid": SIGNER.kid},
        {"alg": "ES256", "kid": SIGNER.kid},
        {"alg": "EdDSA"},
        {"kid": SIGNER.kid},
        {"kid": SIGNER.kid, "alg": "EdDSA"},
        {"alg": "EdDSA", "kid": "../../etc/passwd"},
        {"alg": "EdDSA", "kid": SIGNER.kid, "crit": ["exp"], "exp": 0},
        {"alg": "EdDSA", "kid": SIGNER.kid, "b64": False},
        {"alg": "EdDSA", "kid": SIGNER.kid, "jwk": SIGNER.jwk()},
        {"alg": "EdDSA", "kid": SIGNER.kid, "jku": "http://127.0.0.1/"},
    ],
)
def test_no_header_but_ours_counts_even_when_the_signature_fits_it(header: dict[str, Any]) -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    signature = base64url(key.sign(f"{encoded(header)}.{base64url(PAYLOAD).decode()}".encode())).decode()
    refused(f"{encoded(header)}..{signature}")
    refused(f"{encoded(header)}..")


def test_the_public_key_is_no_secret_to_sign_with() -> None:
    """HS256 with the public key as its secret (CVE-2015-9235 and its many successors)."""
    header = encoded({"alg": "HS256", "kid": SIGNER.kid})
    public = base64.urlsafe_b64decode(SIGNER.jwk()["x"] + "=")
    mac = hmac.digest(public, f"{header}.{base64url(PAYLOAD).decode()}".encode(), hashlib.sha256)
    refused(f"{header}..{base64url(mac).decode()}")
    refused(f"{SIGNER.sign_detached(PAYLOAD).partition('..')[0]}..{base64url(mac).decode()}")


def test_a_signature_of_another_key_does_not_count() -> None:
    other = Ed25519Signer(seed=bytes(32))
    refused(other.sign_detached(PAYLOAD))
    refused(other.sign_detached(PAYLOAD), kid=other.kid)
    ours, theirs = SIGNER.sign_detached(PAYLOAD), other.sign_detached(PAYLOAD)
    refused(ours.partition("..")[0] + ".." + theirs.partition("..")[2])


def test_a_signature_has_one_spelling() -> None:
    """The last of 86 characters carries four spare bits, and decoders take padding, white space and `+/` as well."""
    good = SIGNER.sign_detached(PAYLOAD)
    spare = {good[:-1] + char for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"} - {good}
    for other in (*spare, good + "=", good + "==", good + "\n", good + " ", " " + good, good + "A"):
        refused(other)
    header, _, signature = good.partition("..")
    swapped = signature.replace("-", "+").replace("_", "/")
    assert swapped != signature
    refused(f"{header}..{swapped}")


def test_every_single_bit_of_a_signature_counts() -> None:
    good = SIGNER.sign_detached(PAYLOAD).encode()
    for place in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[place // 8] ^= 1 << place % 8
        refused(flipped.decode("latin-1"))


@given(st.text())
def test_any_text_is_refused_with_bad_signature_and_nothing_else(text: str) -> None:
    refused(text)
    refused(text, kid=text)
    refused(f"{SIGNER.sign_detached(PAYLOAD).partition('..')[0]}..{text}")


@pytest.mark.parametrize("text", ["\ud800", "..\ud800", "\ud800..", "é", "\0"])
def test_text_that_is_no_ascii_is_a_bad_signature_too(text: str) -> None:
    refused(text)
    refused(SIGNER.sign_detached(PAYLOAD) + text)


JWK = SIGNER.jwk()


@pytest.mark.parametrize(
    "jwks",
    [
        {},
        {"keys": None},
        {"keys": {}},
        {"keys": []},
        {"keys": [None, 1, "key", []]},
        {"keys": [{"kty": "RSA"}]},
        {"keys": [JWK | {"crv": "X25519"}]},
        {"keys": [JWK | {"x": "not base64!"}]},
        {"keys": [JWK | {"x": "\ud800"}]},
        {"keys": [JWK | {"x": None}]},
        {"keys": [JWK | {"x": 7}]},
        {"keys": [JWK | {"x": JWK["x"][:-2]}]},
        {"keys": [JWK | {"x": JWK["x"] + "AAAA"}]},
        {"keys": [JWK | {"x": JWK["x"] + "="}]},
        {"keys": [JWK | {"kid": "../../etc/passwd"}]},
        {"keys": [JWK | {"kid": None}]},
        {"keys": [JWK | {"kid": ["list"]}]},
        {"keys": [{name: value for name, value in JWK.items() if name != "x"}]},
    ],
)
def test_a_key_set_that_cannot_verify_says_so_and_nothing_worse(jwks: dict[str, Any]) -> None:
    with pytest.raises(UnusableKeySet):
        KeySet(jwks=jwks)


def test_keys_of_other_kinds_beside_ours_do_no_harm() -> None:
    keys = KeySet(jwks={"keys": [{"kty": "EC", "crv": "P-256"}, 7, Ed25519Signer(seed=bytes(32)).jwk(), JWK]})
    assert keys.verify_compact(SIGNER.sign_compact(PAYLOAD)) == PAYLOAD
