"""A certificate that cannot be used is a fault with a name, so that a reload with one keeps the old and goes on."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from broker.keys.certificate import end_point_binding
from tests.fakes.certificates import server_certificate

_VERSION_3 = bytes.fromhex("a003020102")  # [0] EXPLICIT INTEGER 2, RFC 5280 section 4.1.2.1


def test_a_certificate_of_a_version_that_does_not_exist_is_no_certificate(tmp_path: Path) -> None:
    der = server_certificate(tmp_path, "ecdsa-sha256").der
    assert der.count(_VERSION_3) == 1
    unknown = der.replace(_VERSION_3, bytes.fromhex("a003020106"))
    with pytest.raises(ValueError, match="not a valid X509 version"):
        end_point_binding(ssl.DER_cert_to_PEM_cert(unknown).encode())


@pytest.mark.parametrize(
    "pem", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_said_to_be_none(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        end_point_binding(pem)
