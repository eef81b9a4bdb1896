"""Server certificates for localhost, signed in every way that a public or a company authority signs: one file with key and chain.

Each is its own authority, so the file with the certificate is also what a client trusts.
"""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

# The way of signing -> the hash of RFC 5929, or None where it defines none.
SIGNATURES: dict[str, str | None] = {
    "rsa-sha256": "sha256",
    "rsa-sha384": "sha384",
    "rsa-sha512": "sha512",
    "pss-sha256": "sha256",
    "pss-sha384": "sha384",
    "pss-sha512": "sha512",
    "ecdsa-sha256": "sha256",
    "ecdsa-sha384": "sha384",
    "ecdsa-sha512": "sha512",
    "ed25519": None,
    "ed448": None,
}
_HASHES = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True)
class ServerCertificate:
    """A certificate and its key, on disk and in memory."""

    certificate: Path
    key: Path
    der: bytes
    pem: bytes
    key_pem: bytes


def server_certificate(
    folder: Path, signature: str, *, host: str = "localhost", also: Sequence[str] = (), days: int = 1
) -> ServerCertificate:
    """A fresh self-signed certificate for hosts, names or addresses; written as ``server.crt`` and ``server.key``."""
    kind, _, digest = signature.partition("-")
    key = _key(kind)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in (host, *also)]), critical=False)
    )
    algorithm = _HASHES[digest]() if digest else None
    if kind == "pss" and algorithm is not None:
        pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)
        certificate = built.sign(key, algorithm, rsa_padding=pss)
    else:
        certificate = built.sign(key, algorithm)
    encoding = serialization.Encoding
    key_pem = key.private_bytes(encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir(parents=True, exist_ok=True)
    made = ServerCertificate(
        certificate=folder / "server.crt",
        key=folder / "server.key",
        der=certificate.public_bytes(encoding.DER),
        pem=certificate.public_bytes(encoding.PEM),
        key_pem=key_pem,
    )
    made.certificate.write_bytes(made.pem)
    made.key.touch(mode=0o600)
    made.key.write_bytes(key_pem)
    return made


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@functools.cache  # an RSA key takes a tenth of a second, and what is tested is the signature
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _key(kind: str) -> _PrivateKey:
    if kind == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    return _rsa_key()
