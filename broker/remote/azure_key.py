"""A key of Azure Key Vault that wraps other keys: RSA, and nobody but the vault ever holds its private half.

Anybody can wrap with a public key, so a wrapping alone says nothing about who made it, nor what it is of. Each is therefore
signed by the same key, together with its context: what opens was wrapped by somebody whom the vault let sign.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re

from azure.keyvault.keys import KeyVaultKey
from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import KeyWrapAlgorithm, SignatureAlgorithm
from azure.keyvault.keys.crypto.aio import CryptographyClient

from broker.remote.azure import AzureVault
from broker.remote.failure import Malformed, Refused
from broker.remote.tries import bounded

_WRAPPING = KeyWrapAlgorithm.rsa_oaep_256
_SIGNING = SignatureAlgorithm.ps256
_VERSION = re.compile(r"[0-9a-f]{32}")
# What is signed begins with this, so that the signature means nothing anywhere else.
_LABEL = b"zerotrust-kerberos-link azure-key-wrap v1\0"


class AzureKey:
    """Wraps with the newest version of the key, unwraps with whichever version did. Each within ``tries.PATIENCE``."""

    def __init__(self, name: str, *, vault: AzureVault) -> None:
        """Take the name of an RSA key with the operations wrapKey, unwrapKey, sign and verify. Nothing is asked yet."""
        self._name = name
        self._vault = vault
        self._keys: KeyClient | None = None
        self._versions: dict[str, CryptographyClient] = {}

    async def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """A blob that says which version of the key it needs.

        Raises:
            RemoteFailure: The vault does not, or cannot be asked.
        """
        async with bounded():
            return await self._wrapped(key, context)

    async def unwrap(self, blob: bytes, *, context: bytes) -> bytes:
        """What was wrapped with the same context.

        Raises:
            Refused: ``does_not_open``: altered, of another context, or not wrapped by anybody who may sign.
            Missing: The version of the key is gone.
            RemoteFailure: The vault does not, or cannot be asked.
        """
        version, wrapped, signature = _parts(blob)
        async with bounded():
            return await self._unwrapped(version, wrapped, signature, context)

    async def newest(self) -> str:
        """The version that wraps now.

        Raises:
            Refused: ``disabled``: the key cannot be used as it is now.
            RemoteFailure: The vault does not say.
        """
        return (await self._got("")).properties.version or ""

    async def rotate(self) -> None:
        """A new version, which wraps from here on; the vault keeps all earlier ones. Needs the permission keys/rotate.

        Raises:
            RemoteFailure: The vault does not.
        """
        keys = self._client()
        await self._vault.ask("rotate", lambda: keys.rotate_key(self._name), twice=False)

    async def close(self) -> None:
        """Let the vault go."""
        await self._vault.close()

    def version_of(self, blob: bytes) -> str:
        """The version that a blob needs.

        Raises:
            Refused: ``does_not_open``: it is no blob of ours.
        """
        return _parts(blob)[0]

    async def _wrapped(self, key: bytes, context: bytes) -> bytes:
        version = await self.newest()
        client = await self._of(version)
        wrapped = await self._vault.ask("wrapKey", lambda: client.wrap_key(_WRAPPING, key))
        blob = wrapped.encrypted_key
        digest = _digest(version, blob, context)
        signed = await self._vault.ask("sign", lambda: client.sign(_SIGNING, digest))
        return json.dumps({"version": version, "key": _text(blob), "signature": _text(signed.signature)}).encode()

    async def _unwrapped(self, version: str, wrapped: bytes, signature: bytes, context: bytes) -> bytes:
        client = await self._of(version)
        digest = _digest(version, wrapped, context)
        verified = await self._vault.ask("verify", lambda: client.verify(_SIGNING, digest, signature))
        if not verified.is_valid:
            raise Refused(f"not wrapped by the key {self._name} for this place", reason="does_not_open")
        opened = await self._vault.ask("unwrapKey", lambda: client.unwrap_key(_WRAPPING, wrapped))
        if not isinstance(opened.key, bytes):
            raise Malformed("unwrapKey: no key in the answer", reason="malformed_answer")
        return opened.key

    async def _of(self, version: str) -> CryptographyClient:
        if version not in self._versions:
            self._versions[version] = self._vault.client(CryptographyClient, await self._got(version))
        return self._versions[version]

    async def _got(self, version: str) -> KeyVaultKey:
        keys = self._client()
        key = await self._vault.ask("get key", lambda: keys.get_key(self._name, version))
        found = key.properties
        if not found.version or not _VERSION.fullmatch(found.version) or found.name != self._name:
            raise Malformed("get key: another key than the one asked for", reason="malformed_answer")
        if found.enabled is False:
            raise Refused(f"the key {self._name} is disabled: enable it", reason="disabled")
        return key

    def _client(self) -> KeyClient:
        if self._keys is None:
            self._keys = self._vault.client(KeyClient)
        return self._keys


def _digest(version: str, wrapped: bytes, context: bytes) -> bytes:
    hashed = hashlib.sha256(_LABEL)
    for part in (version.encode(), wrapped, context):
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.digest()


def _parts(blob: bytes) -> tuple[str, bytes, bytes]:
    try:
        read = json.loads(blob)
        version, wrapped, signature = read["version"], _bytes(read["key"]), _bytes(read["signature"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refused("not a key that Azure Key Vault wrapped", reason="does_not_open") from error
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise Refused("not a key that Azure Key Vault wrapped", reason="does_not_open")
    return version, wrapped, signature


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
