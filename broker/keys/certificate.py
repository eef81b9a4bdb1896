"""What a TLS endpoint is known by: tls-server-end-point channel bindings (RFC 5929 section 4); and until when."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256, HashAlgorithm

_PREFIX = b"tls-server-end-point:"


def end_point_binding(pem: bytes) -> bytes | None:
    """The channel binding of the first certificate in a PEM file, as GSS-API application data.

    The hash is the one of the certificate's own signature, SHA-256 in place of MD5 and SHA-1. None where the signature has no
    single hash (Ed25519, Ed448): RFC 5929 leaves the binding undefined there.

    Raises:
        ValueError: No certificate.
    """
    certificate = _first(pem)
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    return _PREFIX + certificate.fingerprint(_strong(algorithm))


def expiry(pem: bytes) -> datetime:
    """When the first certificate in a PEM file ends.

    Raises:
        ValueError: No certificate.
    """
    return _first(pem).not_valid_after_utc


def beginning(pem: bytes) -> datetime:
    """Since when the first certificate in a PEM file counts.

    Raises:
        ValueError: No certificate.
    """
    return _first(pem).not_valid_before_utc


def _first(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except x509.InvalidVersion as error:  # of all its errors the one that is no ValueError
        raise ValueError(str(error)) from error


def _strong(algorithm: HashAlgorithm) -> HashAlgorithm:
    return SHA256() if isinstance(algorithm, MD5 | SHA1) else algorithm
