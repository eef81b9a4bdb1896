"""A client's side of RFC 9421, written from the text and sharing nothing with the product: honest, and wrong where a test asks.

`tests/unit/authn/test_signature.py` holds it against the vectors of the RFC.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Headers = Sequence[tuple[str, str]]

COVERED = ("@method", "@authority", "@path", "@query", "authorization", "x-zerotrust-request")


class RequestSigner:
    """One key, and requests signed with it."""

    def __init__(self, key: PrivateKey) -> None:
        self.key = key
        self.algorithm = "ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "ecdsa-p256-sha256"

    @classmethod
    def ed25519(cls) -> RequestSigner:
        return cls(ed25519.Ed25519PrivateKey.generate())

    @classmethod
    def p256(cls) -> RequestSigner:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def private_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def public_pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def keyid(self) -> str:
        """RFC 7638."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            jwk = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(self.key.public_key().public_bytes_raw())}
        else:
            numbers = self.key.public_key().public_numbers()
            x, y = (_base64url(number.to_bytes(32)) for number in (numbers.x, numbers.y))
            jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        return _base64url(hashlib.sha256(json.dumps(jwk, separators=(",", ":")).encode()).digest())

    def signed(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes = b"",
        *,
        covered: Sequence[str] | None = None,
        digest: str | None = "sha-256",
        label: str = "sig1",
        **parameters: Any,
    ) -> list[tuple[str, str]]:
        """The headers and those that sign them; ``parameters`` replace the ordinary ones, and None removes one."""
        lines = list(headers)
        names = list(COVERED if covered is None else covered)
        if body and digest is not None:
            lines.append(("Content-Digest", content_digest(body, digest)))
            if covered is None:
                names.append("content-digest")
        ordinary = {"created": int(time.time()), "keyid": self.keyid, "nonce": secrets.token_urlsafe(18)}
        text = signature_parameters(names, {**ordinary, **parameters})
        signature = self.sign(signature_base(method, url, lines, names, text))
        return [
            *lines,
            ("Signature-Input", f"{label}={text}"),
            ("Signature", f"{label}=:{base64.b64encode(signature).decode()}:"),
        ]

    def sign(self, base: str) -> bytes:
        """Sections 3.3.4 and 3.3.6."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(base.encode())
        r, s = decode_dss_signature(self.key.sign(base.encode(), ec.ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


def content_digest(body: bytes, algorithm: str = "sha-256") -> str:
    """RFC 9530."""
    found = hashlib.new(algorithm.replace("-", ""), body).digest()
    return f"{algorithm}=:{base64.b64encode(found).decode()}:"


def signature_parameters(names: Sequence[str], parameters: Mapping[str, Any]) -> str:
    """Section 2.3. A name that begins with a quote is taken as it stands, with parameters of its own."""
    inner = " ".join(name if name.startswith('"') else f'"{name}"' for name in names)
    given = "".join(f";{name}={_item(value)}" for name, value in parameters.items() if value is not None)
    return f"({inner}){given}"


def signature_base(method: str, url: str, headers: Headers, names: Sequence[str], parameters: str) -> str:
    """Section 2.5."""
    parts = urlsplit(url)
    derived = {
        "@method": method,
        "@authority": parts.netloc.lower(),
        "@path": parts.path,
        "@query": "?" + parts.query,
        "@target-uri": url,
    }
    lines = []
    for name in names:
        bare = name.split('"')[1] if name.startswith('"') else name
        values = [value for header, value in headers if header.lower() == bare]
        shown = name if name.startswith('"') else f'"{name}"'
        lines.append(f"{shown}: {derived.get(bare, ', '.join(values))}")
    return "\n".join([*lines, f'"@signature-params": {parameters}'])


def _item(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
