"""Keys that requests are signed with (RFC 9421): Ed25519 and ECDSA with P-256, and no other kind.

Which algorithm a signature is made with follows from the kind of its key, so there is nothing that a message could choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from broker.keys.signing import Ed25519Signer, base64url, thumbprint

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey
PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

# RFC 7518 section 6.2.1.2: a coordinate of P-256, leading zeros included.
_COORDINATE_BYTES = 32


class UnusableKey(ValueError):
    """No PEM key, or one of another kind."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """``id`` is the key's RFC 7638 thumbprint, the ``keyid`` of its signatures; ``private`` is None where we only verify."""

    id: str
    public: PublicKey
    private: PrivateKey | None

    @property
    def is_ed25519(self) -> bool:
        """Else it is of P-256."""
        return isinstance(self.public, Ed25519PublicKey)


def public_request_key(pem: bytes) -> RequestKey:
    """A key to verify with.

    Raises:
        UnusableKey: Not a public key of one of the two kinds.
    """
    try:
        public = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey("is not a public key in PEM") from error
    if not _is_of_a_kind(public):
        raise UnusableKey("is neither an Ed25519 nor a P-256 key")
    return RequestKey(id=_id(public), public=public, private=None)


def private_request_key(pem: bytes) -> RequestKey:
    """A key to sign with.

    Raises:
        UnusableKey: Not an unencrypted private key of one of the two kinds.
    """
    try:
        private = load_pem_private_key(pem, password=None)
    except TypeError as error:  # what cryptography raises where a password is needed
        raise UnusableKey("is encrypted") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey("is not a private key in PEM") from error
    if not isinstance(private, Ed25519PrivateKey | EllipticCurvePrivateKey) or not _is_of_a_kind(private.public_key()):
        raise UnusableKey("is neither an Ed25519 nor a P-256 key")
    public = private.public_key()
    return RequestKey(id=_id(public), public=public, private=private)


def ed25519_signer(pem: bytes) -> Ed25519Signer:
    """The signer that an Ed25519 private key makes.

    Raises:
        UnusableKey: Not one, or encrypted.
    """
    private = private_request_key(pem).private
    if isinstance(private, Ed25519PrivateKey):
        return Ed25519Signer(seed=private.private_bytes_raw())
    raise UnusableKey("is not an Ed25519 key")


def _is_of_a_kind(key: object) -> TypeGuard[PublicKey]:
    return isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    )


def _id(public: PublicKey) -> str:
    if isinstance(public, Ed25519PublicKey):
        return thumbprint({"crv": "Ed25519", "kty": "OKP", "x": _text(public.public_bytes_raw())})
    numbers = public.public_numbers()
    x, y = (_text(number.to_bytes(_COORDINATE_BYTES)) for number in (numbers.x, numbers.y))
    return thumbprint({"crv": "P-256", "kty": "EC", "x": x, "y": y})


def _text(data: bytes) -> str:
    return base64url(data).decode()
