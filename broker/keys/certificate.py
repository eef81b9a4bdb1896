"""What a TLS endpoint is known by: tls-server-end-point channel bindings (RFC 5929 section 4); whose it is, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

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


@dataclass(frozen=True, slots=True)
class Shown:
    """One certificate of a chain; its names are those of RFC 6125: DNS names and addresses of subjectAltName, nothing else."""

    subject: str
    names: frozenset[str]
    begins: datetime
    ends: datetime
    _certificate: x509.Certificate

    def is_for(self, host: str) -> bool:
        """Whether a client that asks for ``host`` takes it; a star stands for one label, the first (RFC 6125, section 6.4.3)."""
        _, dot, parent = host.partition(".")
        return host in self.names or bool(dot and f"*.{parent}" in self.names)

    def is_the_one(self, der: bytes) -> bool:
        """Whether these are its bytes."""
        return self._certificate.public_bytes(Encoding.DER) == der

    def is_signed_by(self, issuer: Shown) -> bool:
        """Whether it is."""
        try:
            self._certificate.verify_directly_issued_by(issuer._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def shown(pem: bytes) -> list[Shown]:
    """Every certificate of a PEM file, in its order; at least one.

    Raises:
        ValueError: None, or one that cannot be read.
    """
    try:
        return [_shown(one) for one in x509.load_pem_x509_certificates(pem)]
    except (x509.InvalidVersion, x509.DuplicateExtension) as error:
        raise ValueError(str(error)) from error


def _shown(one: x509.Certificate) -> Shown:
    try:
        found = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found = x509.SubjectAlternativeName([])
    names = {name.lower() for name in found.get_values_for_type(x509.DNSName)}
    names |= {str(address) for address in found.get_values_for_type(x509.IPAddress)}
    subject = one.subject.rfc4514_string() or "a certificate without a name"
    return Shown(subject, frozenset(names), one.not_valid_before_utc, one.not_valid_after_utc, one)
