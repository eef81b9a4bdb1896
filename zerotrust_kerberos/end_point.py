"""What a TLS server is known by to Kerberos: ``tls-server-end-point`` (RFC 5929, section 4), made from its certificate.

A ticket that carries it counts only on a connection to the holder of that certificate's key, so whoever gets another certificate
for the same name and stands in the middle gains nothing. Only the certificate's signature algorithm has to be read (RFC 5280,
section 4.1), by a reader of a few lines: the standard library has none, and nothing else may be needed here.
"""

from __future__ import annotations

import _hashlib  # hashlib itself loads all the hashes there are

from zerotrust_kerberos.failures import Failure

_PREFIX = b"tls-server-end-point:"

_SEQUENCE, _OID, _CONTEXT_0 = 0x30, 0x06, 0xA0
_LONG_FORM = 0x80
_LENGTH_BYTES_MAX = 3  # 16 MiB; OpenSSL takes no larger certificate

# Signature algorithms and their hash, OIDs as DER writes them behind tag and length. SHA-256 stands in place of MD5 and SHA-1
# (RFC 5929, section 4.1). What is not here has no single hash (Ed25519, Ed448) or is in no public use: no binding then.
_RSA, _ECDSA = "2a864886f70d0101", "2a8648ce3d04"  # 1.2.840.113549.1.1, 1.2.840.10045.4
_HASHES = {
    bytes.fromhex(oid): name
    for oid, name in {
        _RSA + "04": "sha256",  # md5WithRSAEncryption
        _RSA + "05": "sha256",  # sha1WithRSAEncryption
        _RSA + "0e": "sha224",
        _RSA + "0b": "sha256",
        _RSA + "0c": "sha384",
        _RSA + "0d": "sha512",
        _ECDSA + "01": "sha256",  # ecdsa-with-SHA1
        _ECDSA + "0301": "sha224",
        _ECDSA + "0302": "sha256",
        _ECDSA + "0303": "sha384",
        _ECDSA + "0304": "sha512",
    }.items()
}
_PSS = bytes.fromhex(_RSA + "0a")
_SHA2 = "6086480165030402"  # 2.16.840.1.101.3.4.2
_PSS_HASHES = {
    bytes.fromhex(oid): name
    for oid, name in {
        "2b0e03021a": "sha256",  # SHA-1
        _SHA2 + "04": "sha224",
        _SHA2 + "01": "sha256",
        _SHA2 + "02": "sha384",
        _SHA2 + "03": "sha512",
    }.items()
}


def end_point(certificate: bytes) -> bytes:
    """The application data of the channel bindings for a server's certificate, DER; empty where RFC 5929 defines none.

    Raises:
        Failure: ``tls_failed`` for a certificate that cannot be read. Going on without a binding would be the attacker's choice.
    """
    body, _ = _element(certificate, 0, _SEQUENCE)
    _, after_content = _element(body, 0, _SEQUENCE)  # tbsCertificate
    algorithm, _ = _element(body, after_content, _SEQUENCE)
    oid, after_oid = _element(algorithm, 0, _OID)
    name = _pss_hash(algorithm, after_oid) if oid == _PSS else _HASHES.get(oid)
    return _PREFIX + _hashlib.new(name, certificate).digest() if name else b""


def _pss_hash(algorithm: bytes, start: int) -> str | None:
    """RSASSA-PSS-params (RFC 4055, section 3.1): hashAlgorithm [0] comes first and is SHA-1 where absent."""
    parameters, _ = _element(algorithm, start, _SEQUENCE)
    if parameters[:1] != bytes([_CONTEXT_0]):
        return "sha256"
    tagged, _ = _element(parameters, 0, _CONTEXT_0)
    inner, _ = _element(tagged, 0, _SEQUENCE)
    oid, _ = _element(inner, 0, _OID)
    return _PSS_HASHES.get(oid)


def _element(data: bytes, start: int, tag: int) -> tuple[bytes, int]:
    """The content of the DER element with this tag that begins at ``start``, and where the next begins (X.690)."""
    if data[start : start + 1] != bytes([tag]) or start + 2 > len(data):
        raise _unreadable()
    length, begin = data[start + 1], start + 2
    if length >= _LONG_FORM:
        count = length - _LONG_FORM
        if not 0 < count <= _LENGTH_BYTES_MAX:
            raise _unreadable()
        length, begin = int.from_bytes(data[begin : begin + count], "big"), begin + count
    if begin + length > len(data):
        raise _unreadable()
    return data[begin : begin + length], begin + length


def _unreadable() -> Failure:
    return Failure("tls_failed", "the server's certificate cannot be read")
