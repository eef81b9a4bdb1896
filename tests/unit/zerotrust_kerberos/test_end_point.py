"""The client's reading of a certificate: the same bytes as the broker's library makes, for every way of signing."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.keys.certificate import end_point_binding
from tests.fakes.certificates import SIGNATURES, server_certificate
from zerotrust_kerberos.end_point import end_point
from zerotrust_kerberos.failures import Failure


@pytest.fixture(scope="module")
def der(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return server_certificate(tmp_path_factory.mktemp("certificate"), "pss-sha384").der


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_hash_is_the_one_of_the_certificates_signature(signature: str, tmp_path: Path) -> None:
    made = server_certificate(tmp_path, signature)
    name = SIGNATURES[signature]
    expected = b"tls-server-end-point:" + hashlib.new(name, made.der).digest() if name else b""
    assert end_point(made.der) == expected


@pytest.mark.parametrize("signature", SIGNATURES)
def test_client_and_broker_agree_on_every_certificate(signature: str, tmp_path: Path) -> None:
    made = server_certificate(tmp_path, signature)
    assert end_point(made.der) == (end_point_binding(made.pem) or b"")


@pytest.mark.parametrize(("last_arc", "old"), [(4, "MD5"), (5, "SHA-1")])
def test_sha256_stands_in_place_of_a_broken_hash(last_arc: int, old: str, tmp_path: Path) -> None:
    # No library signs with these any more; the name of the algorithm is all that counts here.
    sha256_with_rsa = bytes.fromhex("2a864886f70d01010b")
    der = server_certificate(tmp_path, "rsa-sha256").der.replace(
        sha256_with_rsa, sha256_with_rsa[:-1] + bytes([last_arc])
    )
    assert end_point(der) == b"tls-server-end-point:" + hashlib.sha256(der).digest(), old
    assert end_point(der) == end_point_binding(ssl.DER_cert_to_PEM_cert(der).encode())


def test_pss_without_parameters_is_sha1_and_therefore_sha256() -> None:
    # RFC 4055, section 3.1: the default of hashAlgorithm; SEQUENCE {} is all defaults.
    algorithm = bytes.fromhex("300d06092a864886f70d01010a3000")
    content = b"\x30\x00" + algorithm + b"\x03\x01\x00"
    certificate = b"\x30" + bytes([len(content)]) + content
    assert end_point(certificate) == b"tls-server-end-point:" + hashlib.sha256(certificate).digest()


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 5, 8])
def test_a_certificate_that_cannot_be_read_is_a_failure_and_never_a_connection_without_binding(
    cut: int, der: bytes
) -> None:
    with pytest.raises(Failure) as raised:
        end_point(der[:cut])
    assert raised.value.code == "tls_failed"


@given(at=st.integers(0, 1200), value=st.integers(0, 255))
def test_a_changed_certificate_is_another_one_or_unreadable(at: int, value: int, der: bytes) -> None:
    place = at % len(der)
    changed = der[:place] + bytes([value]) + der[place + 1 :]
    try:
        found = end_point(changed)
    except Failure:
        return
    assert not found or (found == end_point(der)) == (changed == der)
