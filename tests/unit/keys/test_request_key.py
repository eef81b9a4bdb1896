"""Keys that requests are signed with: two kinds, each under its RFC 7638 name, and nothing else."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from broker.keys.request_key import UnusableKey, private_request_key, public_request_key
from tests.fakes.request_signer import RequestSigner

OTHERS = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "ed448": ed448.Ed448PrivateKey.generate(),
    "x25519": x25519.X25519PrivateKey.generate(),
    "dsa": dsa.generate_private_key(1024),  # noqa: S505  refused for its kind
}


@pytest.mark.parametrize("signer", [RequestSigner.ed25519(), RequestSigner.p256()], ids=["ed25519", "p256"])
def test_both_halves_of_a_key_have_one_name(signer: RequestSigner) -> None:
    public, private = (
        public_request_key(signer.public_pem.encode()),
        private_request_key(signer.private_pem.encode()),
    )
    assert public.id == private.id == signer.keyid
    assert (public.private, private.private is None) == (None, False)
    assert public.is_ed25519 is private.is_ed25519 is (signer.algorithm == "ed25519")


def test_a_coordinate_with_leading_zeros_keeps_them() -> None:
    # Found by trying: x of this key begins with a zero byte.
    key = ec.derive_private_key(1, ec.SECP256R1())
    number = 1
    while key.public_key().public_numbers().x >> 248:
        number += 1
        key = ec.derive_private_key(number, ec.SECP256R1())
    signer = RequestSigner(key)
    assert public_request_key(signer.public_pem.encode()).id == signer.keyid


@pytest.mark.parametrize("kind", OTHERS)
def test_a_key_of_another_kind_is_refused(kind: str) -> None:
    key = OTHERS[kind]
    with pytest.raises(UnusableKey, match="neither"):
        public_request_key(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(UnusableKey, match="neither"):
        private_request_key(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"no key",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        base64.b64encode(bytes(44)),
        b"\xff\x00",
    ],
)
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    for read in (public_request_key, private_request_key):
        with pytest.raises(UnusableKey, match="in PEM"):
            read(pem)


def test_one_half_is_not_taken_for_the_other_and_a_locked_key_says_so() -> None:
    signer = RequestSigner.ed25519()
    with pytest.raises(UnusableKey, match="not a public key"):
        public_request_key(signer.private_pem.encode())
    with pytest.raises(UnusableKey, match="not a private key"):
        private_request_key(signer.public_pem.encode())
    locked = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    with pytest.raises(UnusableKey, match="is encrypted"):
        private_request_key(locked)
