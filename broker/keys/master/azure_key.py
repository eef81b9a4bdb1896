"""A master key in Azure Key Vault. A wrapped key says which version of it it needs, and is signed there with its context."""

from __future__ import annotations

from broker.core.clock import Clock
from broker.keys.envelope import CannotOpen
from broker.keys.master.distant import RemoteMaster
from broker.remote.azure_key import AzureKey
from broker.remote.failure import Missing, Refused


class AzureKeyMaster(RemoteMaster):
    """An RSA key, which wraps, unwraps, signs and verifies."""

    of_the_blob = frozenset({"does_not_open"})

    def __init__(self, *, key: AzureKey, name: str, clock: Clock) -> None:
        """Take the key, and its address: the vault's URL with the key's name."""
        super().__init__(id=f"azure-key-vault:{name}", clock=clock)
        self._key = key

    async def rotate(self) -> None:
        """As ``Rotatable`` has it."""
        await self._noted(self._asked(self._key.rotate()))

    async def close(self) -> None:
        """Let the vault go."""
        await self._key.close()

    async def _wrap(self, key: bytes, context: bytes) -> bytes:
        return await self._asked(self._key.wrap(key, context=context))

    async def _unwrap(self, blob: bytes, context: bytes) -> bytes:
        return await self._asked(self._opened(blob, context))

    async def _is_newest(self, blob: bytes) -> bool:
        try:
            version = self._key.version_of(blob)
        except Refused:
            return False
        return version == await self._asked(self._key.newest())

    async def _opened(self, blob: bytes, context: bytes) -> bytes:
        try:
            return await self._key.unwrap(blob, context=context)
        except Missing as error:
            # A version that was never there, or is gone: of the key as a whole the next wrapping tells.
            raise CannotOpen("unknown_key") from error
