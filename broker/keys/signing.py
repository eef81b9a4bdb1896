"""Signatures that anybody can check: Ed25519 as JWS (RFC 7515, RFC 8037), public keys as a JWKS (RFC 7517)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ALGORITHM = "EdDSA"
_ED25519_BYTES = 32


class BadSignature(Exception):
    """The signature does not belong to these bytes, or to no key that is known."""


class UnusableKeySet(ValueError):
    """The JWKS is not one, or holds no Ed25519 key."""


class Ed25519Signer:
    """Signs; ``kid`` is the JWK thumbprint of the public key (RFC 7638)."""

    def __init__(self, *, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.kid = _thumbprint(self.public)
        self._header = base64url(_header(self.kid))

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of RFC 8032."""
        return self._key.sign(data)

    def sign_detached(self, payload: bytes) -> str:
        """A detached JWS, ``header..signature`` (RFC 7515, appendix F)."""
        signature = self._key.sign(b"%b.%b" % (self._header, base64url(payload)))
        return f"{self._header.decode()}..{base64url(signature).decode()}"

    def sign_compact(self, payload: bytes) -> str:
        """A compact JWS, ``header.payload.signature``."""
        header, _, signature = self.sign_detached(payload).split(".")
        return f"{header}.{base64url(payload).decode()}.{signature}"

    def jwk(self) -> dict[str, str]:
        """The public key as a JWK."""
        x = base64url(self.public).decode()
        return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "use": "sig", "alg": _ALGORITHM}


class KeySet:
    """Public keys by ``kid``, to verify with."""

    def __init__(self, *, jwks: Mapping[str, Any]) -> None:
        """Take a JWKS document.

        Raises:
            UnusableKeySet: No ``keys`` member, no Ed25519 key in it, or a ``kid`` that is not the key's thumbprint.
        """
        members = jwks.get("keys")
        if not isinstance(members, list):
            raise UnusableKeySet("a JWKS has a member `keys` that is a list")
        self._keys: dict[str, tuple[str, Ed25519PublicKey]] = {}
        # As they are written: see ``es256.es256_keys``.
        self.elliptic = [jwk for jwk in members if isinstance(jwk, dict) and jwk.get("kty") == "EC"]
        for jwk in members:
            if isinstance(jwk, dict) and jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519":
                kid, key = _public_key(jwk)
                self._keys[kid] = (base64url(_header(kid)).decode(), key)
        if not self._keys:
            raise UnusableKeySet("the JWKS holds no Ed25519 key")

    def ed25519(self) -> list[bytes]:
        """The public keys, 32 bytes each."""
        return [key.public_bytes(Encoding.Raw, PublicFormat.Raw) for _, key in self._keys.values()]

    def verify_detached(self, jws: str, *, kid: str, payload: bytes) -> None:
        """Check a detached JWS.

        The header must be the one we write, byte for byte: no algorithm is negotiated, ``crit`` and embedded keys
        do not exist.

        Raises:
            BadSignature: Unknown ``kid``, another header, or the bytes do not match.
        """
        try:
            expected_header, key = self._keys[kid]
        except KeyError as error:
            raise BadSignature(f"no key {kid!r} in the key set") from error
        header, dots, signature = jws.partition("..")
        if not dots or header != expected_header:
            raise BadSignature("not the JWS header of this log")
        raw = base64url_decode(signature)
        try:
            key.verify(raw, b"%b.%b" % (expected_header.encode(), base64url(payload)))
        except InvalidSignature as error:
            raise BadSignature("the signature does not match") from error

    def verify_compact(self, jws: str) -> bytes:
        """Check a compact JWS made by any key of the set and return its payload.

        Raises:
            BadSignature: As for ``verify_detached``.
        """
        header, _, rest = jws.partition(".")
        payload_text, _, signature = rest.partition(".")
        kid = next((kid for kid, (expected, _) in self._keys.items() if expected == header), None)
        if kid is None:
            raise BadSignature("no key of the key set made this")
        payload = base64url_decode(payload_text)
        self.verify_detached(f"{header}..{signature}", kid=kid, payload=payload)
        return payload


def verify_ed25519(signature: bytes, *, public: bytes, data: bytes) -> None:
    """Check the 64 bytes of RFC 8032 with a raw public key.

    Raises:
        BadSignature: They do not match.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except InvalidSignature as error:
        raise BadSignature("the signature does not match") from error


def thumbprint(jwk: Mapping[str, str]) -> str:
    """What a public key is called (RFC 7638), of a JWK that has its required members and no other."""
    canonical = json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()
    return base64url(hashlib.sha256(canonical).digest()).decode()


def base64url(data: bytes) -> bytes:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def base64url_decode(text: str) -> bytes:
    """The one canonical spelling only: base64 has spare bits in its last character, and Python takes ``+/`` beside ``-_``."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise BadSignature("not base64url") from error
    if base64url(data).decode() != text:
        raise BadSignature("not canonical base64url")
    return data


def _public_key(jwk: Mapping[str, Any]) -> tuple[str, Ed25519PublicKey]:
    try:
        public = base64url_decode(str(jwk.get("x")))
    except BadSignature as error:
        raise UnusableKeySet(f"a key's x is {error}") from error
    if len(public) != _ED25519_BYTES or jwk.get("kid") != _thumbprint(public):
        raise UnusableKeySet("a key's kid is not its RFC 7638 thumbprint")
    return _thumbprint(public), Ed25519PublicKey.from_public_bytes(public)


def _header(kid: str) -> bytes:
    return json.dumps({"alg": _ALGORITHM, "kid": kid}, separators=(",", ":")).encode()


def _thumbprint(public: bytes) -> str:
    return thumbprint({"crv": "Ed25519", "kty": "OKP", "x": base64url(public).decode()})
