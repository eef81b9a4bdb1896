"""What a realm needs for logins stronger than a password: certificates for PKINIT, a RADIUS server for one-time passwords.

The KDC is MIT's with its own plugins (krb5-pkinit, krb5-otp). Only what stands behind them is made here: an authority with the
certificates of RFC 4556, and a RADIUS server (RFC 2865) that knows which code of whom it takes once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

# RFC 4556: id-pkinit-san, id-pkinit-KPClientAuth, id-pkinit-KPKdc.
_SAN = x509.ObjectIdentifier("1.3.6.1.5.2.2")
_CLIENT, _KDC = x509.ObjectIdentifier("1.3.6.1.5.2.3.4"), x509.ObjectIdentifier("1.3.6.1.5.2.3.5")
_NT_PRINCIPAL, _NT_SRV_INST = 1, 2
_KEY_BITS = 2048

# RFC 2865.
_ACCEPT, _REJECT = 2, 3
_USER_NAME, _USER_PASSWORD = 1, 2
_HEAD = 20


@dataclass(frozen=True)
class Certificates:
    """An authority, the KDC's certificate and one for each user; ``identity(user)`` is what kinit takes."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *, realm: str, users: Sequence[str]) -> Certificates:
        """Fresh ones."""
        folder.mkdir(mode=0o700, parents=True)
        key = _key()
        name = _named("authority")
        authority = _built(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        (folder / "ca.pem").write_bytes(authority.sign(key, hashes.SHA256()).public_bytes(_PEM))
        for file, principal, use in [("kdc", f"krbtgt/{realm}", _KDC), *((user, user, _CLIENT) for user in users)]:
            own = _key()
            leaf = (
                _built(_named(file), name, own)
                .add_extension(
                    x509.SubjectAlternativeName([x509.OtherName(_SAN, _name(principal, realm))]), critical=False
                )
                .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
                # MIT's KDC takes a client's certificate for nothing without it.
                .add_extension(_SIGNING, critical=True)
                .sign(key, hashes.SHA256())
            )
            private = own.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            (folder / f"{file}.pem").write_bytes(leaf.public_bytes(_PEM))
            (folder / f"{file}.key").touch(mode=0o600)
            (folder / f"{file}.key").write_bytes(private)
        return cls(folder)

    def identity(self, user: str) -> str:
        return f"FILE:{self.folder / user}.pem,{self.folder / user}.key"

    @property
    def kdc_options(self) -> dict[str, str]:
        """What the KDC needs, with the indicator it puts into such tickets."""
        return {
            "pkinit_identity": self.identity("kdc"),
            "pkinit_anchors": f"FILE:{self.folder}/ca.pem",
            "pkinit_indicator": "pkinit",
        }

    @property
    def client_options(self) -> dict[str, str]:
        return {"pkinit_anchors": f"FILE:{self.folder}/ca.pem"}


_PEM = serialization.Encoding.PEM
_SIGNING = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
    key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _built(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )


def _name(principal: str, realm: str) -> bytes:
    """KRB5PrincipalName (RFC 4556, section 3.2.2): a realm and a PrincipalName, in DER."""
    parts = principal.split("/")
    kind = _NT_SRV_INST if parts[0] == "krbtgt" else _NT_PRINCIPAL
    strings = _tlv(0x30, b"".join(_tlv(0x1B, part.encode()) for part in parts))
    name = _tlv(0x30, _tlv(0xA0, _tlv(0x02, bytes([kind]))) + _tlv(0xA1, strings))
    return _tlv(0x30, _tlv(0xA0, _tlv(0x1B, realm.encode())) + _tlv(0xA1, name))


def _tlv(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content  # nothing here is longer than 127 bytes


class Radius:
    """A RADIUS server on a Unix socket: ``codes`` are what each user may say, each code once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.codes: dict[str, set[str]] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def kdc_section(self) -> str:
        """For kdc.conf. A socket needs no secret (krb5.conf(5), [otp])."""
        return f"[otp]\n    DEFAULT = {{\n        server = {self.path}\n        indicator = otp\n    }}\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while len(head := connection.recv(_HEAD, socket.MSG_WAITALL)) == _HEAD:
                rest = connection.recv(int.from_bytes(head[2:4]) - _HEAD, socket.MSG_WAITALL)
                connection.sendall(self._reply(head, _attributes(rest)))

    def _reply(self, head: bytes, attributes: dict[int, bytes]) -> bytes:
        user, code = attributes[_USER_NAME].decode(), _revealed(attributes[_USER_PASSWORD], head[4:])
        known = self.codes.get(user, set())
        kind = _ACCEPT if code in known else _REJECT
        known.discard(code)
        answer = bytes([kind, head[1]]) + _HEAD.to_bytes(2)
        # Section 3; the secret behind it is empty.
        return answer + hashlib.md5(answer + head[4:]).digest()  # noqa: S324


def _attributes(rest: bytes) -> dict[int, bytes]:
    found = {}
    while rest:
        found[rest[0]], rest = rest[2 : rest[1]], rest[rest[1] :]
    return found


def _revealed(hidden: bytes, authenticator: bytes) -> str:
    """Section 5.2: each sixteen bytes with the hash of the secret and the sixteen before them."""
    blocks = [authenticator, *(hidden[at : at + 16] for at in range(0, len(hidden), 16))]
    pads = (hashlib.md5(before).digest() for before in blocks)  # noqa: S324
    plain = b"".join(
        bytes(a ^ b for a, b in zip(block, pad, strict=True))
        for block, pad in zip(itertools.islice(blocks, 1, None), pads, strict=False)
    )
    return plain.rstrip(b"\0").decode()
