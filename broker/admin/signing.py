"""Signs an operator's requests (RFC 9421) with a key of their own, so that nobody on the way can change or repeat one."""

from __future__ import annotations

import secrets
from pathlib import Path

from http_message_signatures import HTTPMessageSigner, MappingKeyResolver
from http_message_signatures.algorithms import ECDSA_P256_SHA256, ED25519

from broker import wire_operators
from broker.core.private_file import read_private
from broker.keys.request_key import RequestKey, UnusableKey, private_request_key

# A PEM key of the two kinds has under 300 bytes.
_KEY_FILE_MAX = 16 * 1024
# 128 bits: no operator meets their own again.
_NONCE_BYTES = 16

Headers = list[tuple[str, str]]


class Signer:
    """One key. Call it with a request; it returns the headers that sign it."""

    def __init__(self, key: RequestKey) -> None:
        """Take a private key."""
        keys = MappingKeyResolver(public_keys={}, private_keys={key.id: key.private} if key.private else {})
        self._key_id = key.id
        self._signer = HTTPMessageSigner(
            signature_algorithm=ED25519 if key.is_ed25519 else ECDSA_P256_SHA256, key_resolver=keys
        )

    @classmethod
    def from_file(cls, path: Path) -> Signer:
        """Read a PEM file that nobody else can read.

        Raises:
            ValueError: It is none, or others can (``PermissionProblem``).
        """
        try:
            return cls(private_request_key(read_private(path, limit=_KEY_FILE_MAX)))
        except UnusableKey as error:
            raise UnusableKey(f"{path} {error}") from error

    def __call__(self, method: str, url: str, headers: Headers, body: bytes) -> Headers:
        """``Content-Digest`` where there is a body, ``Signature-Input`` and ``Signature``."""
        message = _Message(method, url, headers)
        self._signer.sign(
            message,
            key_id=self._key_id,
            nonce=secrets.token_urlsafe(_NONCE_BYTES),
            label="operator",
            covered_component_ids=wire_operators.SIGNED_COMPONENTS,
            body=body or None,
        )
        known = {name.lower() for name, _ in headers}
        return [(name, value) for name, value in message.headers.items() if name.lower() not in known]


class _Message:
    """A request as the library wants to see one."""

    def __init__(self, method: str, url: str, headers: Headers) -> None:
        self.method = method
        self.url = url
        self.headers = dict(headers)
