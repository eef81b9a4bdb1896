"""ES256 (RFC 7518, section 3.4): for those who do not take Ed25519, which are AWS and most HSMs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from broker.keys.signing import BadSignature, KeySet, UnusableKeySet, base64url, base64url_decode, thumbprint

_ALGORITHM = "ES256"
_CURVE = ec.SECP256R1()
# SEC 2, section 2.4.2: the order of the curve's group.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_COORDINATE_BYTES = 32
# FIPS 186-5, appendix A.2.1: eight bytes more than the order has make the bias of a remainder harmless.
SEED_BYTES = 40


class Es256PublicKey:
    """Checks; ``kid`` is the JWK thumbprint of the key (RFC 7638)."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        numbers = key.public_numbers()
        self._x, self._y = (_coordinate(numbers.x), _coordinate(numbers.y))
        self.kid = thumbprint({"crv": "P-256", "kty": "EC", "x": self._x, "y": self._y})

    @classmethod
    def of_spki(cls, der: bytes) -> Es256PublicKey:
        """The key of a DER SubjectPublicKeyInfo.

        Raises:
            ValueError: Not one, or not of P-256.
        """
        try:
            key = load_der_public_key(der)
        except UnsupportedAlgorithm as error:
            raise ValueError("not a P-256 key") from error
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(key)
        raise ValueError("not a P-256 key")

    @classmethod
    def of_jwk(cls, jwk: Mapping[str, Any]) -> Es256PublicKey:
        """The key of a JWK of the type EC.

        Raises:
            UnusableKeySet: Not of P-256, no point of it, or its ``kid`` is not its thumbprint.
        """
        try:
            x, y = (int.from_bytes(base64url_decode(str(jwk.get(name)))) for name in ("x", "y"))
            key = cls(ec.EllipticCurvePublicNumbers(x, y, _CURVE).public_key())
        except (BadSignature, ValueError) as error:
            raise UnusableKeySet("an EC key is no point of P-256") from error
        if jwk.get("crv") != "P-256" or jwk.get("kid") != key.kid:
            raise UnusableKeySet("an EC key is not of P-256, or its kid is not its RFC 7638 thumbprint")
        return key

    def spki(self) -> bytes:
        """The DER SubjectPublicKeyInfo (RFC 5480)."""
        return self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def jwk(self) -> dict[str, str]:
        """The JWK."""
        members = {"kty": "EC", "crv": "P-256", "x": self._x, "y": self._y}
        return {**members, "kid": self.kid, "use": "sig", "alg": _ALGORITHM}

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check an ECDSA signature with SHA-256, in DER as X.509 has it (``der_signature``).

        Raises:
            BadSignature: It is not the key's over these bytes.
        """
        try:
            self._key.verify(signature, message, ec.ECDSA(SHA256()))
        except InvalidSignature as error:
            raise BadSignature("the signature does not match") from error


class JwtSigner(Protocol):
    """Signs JWTs by ES256, here or elsewhere."""

    async def sign_jwt(self, claims: dict[str, object]) -> str:
        """A signed JWT (RFC 7519) in compact form. Where the key is elsewhere, raises what that place raises."""
        ...

    def jwk(self) -> dict[str, str] | None:
        """The public key as a JWK; None while nobody knows it yet."""
        ...

    async def ping(self) -> str | None:
        """None while it signs, else why not."""
        ...


class Es256Signer:
    """Signs; ``kid`` is the JWK thumbprint of the public key (RFC 7638)."""

    def __init__(self, *, seed: bytes) -> None:
        """Take a seed of ``SEED_BYTES``: the same seed makes the same key on every instance.

        Raises:
            ValueError: It is shorter.
        """
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._key = ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER - 1) + 1, _CURVE)
        self._public = Es256PublicKey(self._key.public_key())
        self.kid = self._public.kid

    async def sign_jwt(self, claims: dict[str, object]) -> str:
        """A signed JWT (RFC 7519) in compact form."""
        signed = jwt_input(claims, kid=self.kid)
        return jwt_of(signed, self._key.sign(signed, ec.ECDSA(SHA256())))

    async def ping(self) -> None:
        """It signs."""

    def jwk(self) -> dict[str, str]:
        """The public key as a JWK."""
        return self._public.jwk()


def jwt_input(claims: dict[str, object], *, kid: str) -> bytes:
    """What is signed of a JWT: header and claims (RFC 7515, section 5.1)."""
    header = {"alg": _ALGORITHM, "kid": kid, "typ": "JWT"}
    return b"%b.%b" % (base64url(_json(header)), base64url(_json(claims)))


def jwt_of(signed: bytes, signature: bytes) -> str:
    """The compact form, of a signature in DER."""
    r, s = decode_dss_signature(signature)
    raw = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
    return f"{signed.decode()}.{base64url(raw).decode()}"


def es256_keys(keys: KeySet) -> list[Es256PublicKey]:
    """The P-256 keys of a JWKS.

    Raises:
        UnusableKeySet: One of its EC keys is none.
    """
    return [Es256PublicKey.of_jwk(jwk) for jwk in keys.elliptic]


def der_signature(raw: bytes) -> bytes:
    """What PKCS #11 and JWS write as ``r | s``, as X.509 writes it.

    Raises:
        ValueError: Not 64 bytes.
    """
    if len(raw) != 2 * _COORDINATE_BYTES:
        raise ValueError(f"an ES256 signature has {2 * _COORDINATE_BYTES} bytes, not {len(raw)}")
    halves = (raw[:_COORDINATE_BYTES], raw[_COORDINATE_BYTES:])
    return encode_dss_signature(*(int.from_bytes(half) for half in halves))


def _coordinate(number: int) -> str:
    return base64url(number.to_bytes(_COORDINATE_BYTES, "big")).decode()


def _json(members: dict[str, str] | dict[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
