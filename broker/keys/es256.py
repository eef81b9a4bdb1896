"""ES256 (RFC 7518, section 3.4): for those who do not take Ed25519, which is AWS."""

from __future__ import annotations

import hashlib
import json

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from broker.keys.signing import base64url

_ALGORITHM = "ES256"
_CURVE = ec.SECP256R1()
# SEC 2, section 2.4.2: the order of the curve's group.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_COORDINATE_BYTES = 32
# FIPS 186-5, appendix A.2.1: eight bytes more than the order has make the bias of a remainder harmless.
SEED_BYTES = 40


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
        numbers = self._key.public_key().public_numbers()
        self._x, self._y = (_coordinate(numbers.x), _coordinate(numbers.y))
        members = {"crv": "P-256", "kty": "EC", "x": self._x, "y": self._y}
        self.kid = base64url(hashlib.sha256(_json(members)).digest()).decode()

    def sign_jwt(self, claims: dict[str, object]) -> str:
        """A signed JWT (RFC 7519) in compact form."""
        header = {"alg": _ALGORITHM, "kid": self.kid, "typ": "JWT"}
        signed = b"%b.%b" % (base64url(_json(header)), base64url(_json(claims)))
        r, s = decode_dss_signature(self._key.sign(signed, ec.ECDSA(SHA256())))
        signature = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
        return f"{signed.decode()}.{base64url(signature).decode()}"

    def jwk(self) -> dict[str, str]:
        """The public key as a JWK."""
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": self._x,
            "y": self._y,
            "kid": self.kid,
            "use": "sig",
            "alg": _ALGORITHM,
        }


def _coordinate(number: int) -> str:
    return base64url(number.to_bytes(_COORDINATE_BYTES, "big")).decode()


def _json(members: dict[str, str] | dict[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
