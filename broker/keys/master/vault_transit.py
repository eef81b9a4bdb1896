"""A master key in the transit engine of Vault or OpenBao. A wrapped key is the engine's own text, ``vault:v3:...``."""

from __future__ import annotations

from broker.core.clock import Clock
from broker.keys.envelope import CannotOpen
from broker.keys.master.distant import RemoteMaster
from broker.keys.master.port import MasterRefused
from broker.remote.failure import Refused
from broker.remote.hashicorp.transit import CIPHERTEXT_REFUSED, Transit, version_of

# Those that are of 256 bits and take associated data.
_KINDS = frozenset({"aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"})


class VaultTransitMaster(RemoteMaster):
    """A key that its engine gives to nobody."""

    of_the_blob = frozenset({CIPHERTEXT_REFUSED})

    def __init__(self, *, transit: Transit, name: str, clock: Clock) -> None:
        """Take the key, and where it lies as far as that is the same for every host: ``NAMESPACE/MOUNT/KEY``."""
        super().__init__(id=f"vault-transit:{name}", clock=clock)
        self._transit = transit

    async def rotate(self) -> None:
        """As ``Rotatable`` has it."""
        await self._noted(self._asked(self._transit.rotate()))

    async def close(self) -> None:
        """Give the token back."""
        await self._transit.close()

    async def _wrap(self, key: bytes, context: bytes) -> bytes:
        info = await self._asked(self._transit.info())
        if info.is_exportable:
            raise MasterRefused(f"the transit key {info.name} can be exported; make one that cannot")
        if info.kind not in _KINDS:
            raise MasterRefused(f"the transit key {info.name} is {info.kind}; make one of aes256-gcm96")
        return (await self._asked(self._transit.encrypt(key, associated_data=context))).encode()

    async def _unwrap(self, blob: bytes, context: bytes) -> bytes:
        text = _text(blob)
        return await self._asked(self._transit.decrypt(text, associated_data=context))

    async def _is_newest(self, blob: bytes) -> bool:
        try:
            version = version_of(_text(blob))
        except (CannotOpen, Refused):
            return False
        return version == (await self._asked(self._transit.info())).latest


def _text(blob: bytes) -> str:
    try:
        return blob.decode("ascii")
    except UnicodeDecodeError as error:
        raise CannotOpen("malformed") from error
