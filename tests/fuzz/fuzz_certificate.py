"""The helper's reading of a server's certificate: a channel binding, none, or `tls_failed`; never another than the broker's."""

from __future__ import annotations

import base64
import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from broker.keys.certificate import end_point_binding
from tests.fakes.certificates import SIGNATURES, server_certificate
from tests.fuzz import der_tree
from zerotrust_kerberos.end_point import end_point
from zerotrust_kerberos.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = b"tls-server-end-point:"
LENGTHS = {len(PREFIX) + size for size in (28, 32, 48, 64)}


def seeds() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        for signature in SIGNATURES:
            yield server_certificate(Path(folder), signature).der


def one_input(data: bytes) -> None:
    try:
        ours = end_point(data)
    except Failure as failure:
        assert failure.code == "tls_failed"
        return
    der_tree.split(data)  # raises where there is less than is announced
    assert not ours or len(ours) in LENGTHS
    try:
        theirs = end_point_binding(pem(data))
    except ValueError:
        return  # no certificate to OpenSSL: no connection either
    # SHA-3, which no public authority signs with, the helper leaves unbound.
    assert ours == (theirs or b"") or (not ours and theirs in sha3(data))


def sha3(data: bytes) -> set[bytes]:
    return {PREFIX + hashlib.new(f"sha3_{bits}", data).digest() for bits in (224, 256, 384, 512)}


def pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
