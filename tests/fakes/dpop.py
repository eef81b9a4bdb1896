"""A client's side of DPoP (RFC 9449), honest by default and wrong in whatever a test asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Prover:
    """One key, and proofs made with it."""

    def __init__(self, key: PrivateKey, *, algorithm: str) -> None:
        self.key = key
        self.algorithm = algorithm
        made = ECAlgorithm.to_jwk if isinstance(key, ec.EllipticCurvePrivateKey) else OKPAlgorithm.to_jwk
        self.jwk: dict[str, Any] = {
            name: value for name, value in made(key.public_key(), as_dict=True).items() if name != "key_ops"
        }
        self.private_jwk: dict[str, Any] = made(key, as_dict=True)

    @classmethod
    def es256(cls) -> Prover:
        return cls(ec.generate_private_key(ec.SECP256R1()), algorithm="ES256")

    @classmethod
    def ed25519(cls) -> Prover:
        return cls(ed25519.Ed25519PrivateKey.generate(), algorithm="EdDSA")

    @property
    def thumbprint(self) -> str:
        """RFC 7638, computed here and not by the product."""
        names = ("crv", "kty", "x", "y") if self.jwk["kty"] == "EC" else ("crv", "kty", "x")
        inner = ",".join(f'"{name}":"{self.jwk[name]}"' for name in names)
        return _base64url(hashlib.sha256(f"{{{inner}}}".encode()).digest())

    def proof(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        now: float | None = None,
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A fresh proof; ``header`` and ``claims`` replace members, and None removes one."""
        body: dict[str, Any] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": int(time.time() if now is None else now),
        }
        if token is not None:
            body["ath"] = _base64url(hashlib.sha256(token.encode()).digest())
        top = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk} | (header or {})
        return self.signed(_without_none(top), _without_none(body | claims))

    def signed(self, header: dict[str, Any], claims: object) -> str:
        """A compact JWS of exactly these members, or these bytes, signed with this key whatever they say."""
        payload = _base64url(claims) if isinstance(claims, bytes) else _json(claims)
        signing_input = f"{_json(header)}.{payload}"
        algorithm = jwt.PyJWS().get_algorithm_by_name(self.algorithm)
        return f"{signing_input}.{_base64url(algorithm.sign(signing_input.encode(), self.key))}"


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _json(value: object) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
