"""RSA keys of a Key Vault, in versions: what may be done with one is in its ``key_ops``, and its private half stays here."""

from __future__ import annotations

import base64
import functools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from tests.fakes.azure.wire import Answer, Asked, Refusal, bad, found, members

_OPS = ("wrapKey", "unwrapKey", "sign", "verify")
_ROUTES = {op.lower(): op for op in _OPS}
_DIGEST_BYTES = 32


@dataclass(slots=True)
class _Version:
    id: str
    private: rsa.RSAPrivateKey
    enabled: bool = True


@dataclass(slots=True)
class Keys:
    """``ops``: what the keys may be used for."""

    held: dict[str, list[_Version]] = field(default_factory=dict)
    ops: tuple[str, ...] = _OPS

    def make(self, name: str) -> str:
        """A new version of a key, or a new key."""
        version = _Version(secrets.token_hex(16), _private(len(self.held.get(name, []))))
        self.held.setdefault(name, []).append(version)
        return version.id

    def answer(self, asked: Asked, steps: list[str], *, url: str, permit: Callable[[str], None]) -> Answer:
        """To a request below ``/keys``."""
        match asked.method, steps:
            case "GET", [name, *version]:
                permit("keys/get")
                return found(self._bundle(name, self._found(name, version[:1]), url))
            case "POST", [name, "rotate"]:
                permit("keys/rotate")
                self._found(name, [])
                self.make(name)
                return found(self._bundle(name, self._found(name, []), url))
            case "POST", [name, version, route] if route in _ROUTES:
                op = _ROUTES[route]
                permit(f"keys/{op}")
                return self._use(op, name, self._found(name, [version]), asked.body, url)
        raise Refusal(404, "KeyNotFound", "Not found")

    def _found(self, name: str, version: list[str]) -> _Version:
        held = self.held.get(name, [])
        matching = held[-1:] if version in ([], [""]) else [each for each in held if [each.id] == version]
        if not matching:
            raise Refusal(404, "KeyNotFound", f"A key with (name/id) {name} was not found in this key vault.")
        return matching[0]

    def _bundle(self, name: str, version: _Version, url: str) -> dict[str, Any]:
        numbers = version.private.public_key().public_numbers()
        now = int(time.time())
        return {
            "key": {
                "kid": f"{url}keys/{name}/{version.id}",
                "kty": "RSA",
                "key_ops": list(self.ops),
                "n": _text(numbers.n.to_bytes(256, "big")),
                "e": _text(numbers.e.to_bytes(3, "big")),
            },
            "attributes": {"enabled": version.enabled, "created": now, "updated": now},
        }

    def _use(self, op: str, name: str, version: _Version, body: bytes, url: str) -> Answer:
        known = {"alg", "digest", "value"} if op == "verify" else {"alg", "value"}
        given = members(body, known=known, needed=known)
        if not version.enabled:
            raise Refusal(403, "Forbidden", f"Operation {op} is not allowed on a disabled key.", inner="KeyDisabled")
        if op not in self.ops:
            raise Refusal(
                403, "Forbidden", f"Operation {op} is not permitted on this key.", inner="KeyOperationForbidden"
            )
        expected = "RSA-OAEP-256" if op in {"wrapKey", "unwrapKey"} else "PS256"
        if given["alg"] != expected:
            raise bad(f"this vault has {expected} only")
        made = _done(op, version.private, given)
        return found({"value": made} if isinstance(made, bool) else self._named(name, version, url, made))

    def _named(self, name: str, version: _Version, url: str, made: bytes) -> dict[str, Any]:
        return {"kid": f"{url}keys/{name}/{version.id}", "value": _text(made)}


def _done(op: str, private: rsa.RSAPrivateKey, given: dict[str, Any]) -> bytes | bool:
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    prehashed = utils.Prehashed(hashes.SHA256())
    value = _bytes(given["value"])
    try:
        if op == "wrapKey":
            return private.public_key().encrypt(value, oaep)
        if op == "unwrapKey":
            return private.decrypt(value, oaep)
        digest = _bytes(given["digest"]) if op == "verify" else value
        if len(digest) != _DIGEST_BYTES:
            raise bad("Invalid length of value for algorithm PS256")
        if op == "sign":
            return private.sign(digest, pss, prehashed)
    except ValueError as error:
        raise bad("The parameter is incorrect.") from error
    try:
        private.public_key().verify(value, digest, pss, prehashed)
    except InvalidSignature:
        return False
    return True


@functools.cache  # an RSA key takes a tenth of a second
def _private(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
