"""A master key in AWS KMS. A wrapped key is KMS's own ciphertext.

KMS keeps the generations of a key to itself and drops none, so nothing is ever due to be wrapped anew: its automatic rotation is
switched on there.
"""

from __future__ import annotations

from broker.core.clock import Clock
from broker.keys.envelope import CannotOpen
from broker.keys.master.distant import RemoteMaster
from broker.remote.aws import AwsKms
from broker.remote.failure import Refused

# Of the encryption context, which stands readable in CloudTrail.
_MEMBER = "zerotrust-kerberos-link"
_PROBE = b"zerotrust/is-it-the-blob/v1"


class AwsKmsMaster(RemoteMaster):
    """A symmetric key."""

    of_the_blob = frozenset({"kms_does_not_open", "kms_wrong_key"})

    def __init__(self, *, kms: AwsKms, key_id: str, clock: Clock) -> None:
        """Take the key, and what it is called in the configuration."""
        super().__init__(id=f"aws-kms:{key_id}", clock=clock)
        self._kms = kms

    async def close(self) -> None:
        """Let go of the threads."""
        await self._kms.close()

    async def _wrap(self, key: bytes, context: bytes) -> bytes:
        return (await self._asked(self._kms.encrypt(key, context={_MEMBER: context.hex()}))).blob

    async def _unwrap(self, blob: bytes, context: bytes) -> bytes:
        return await self._asked(self._opened(blob, context))

    async def _is_newest(self, blob: bytes) -> bool:  # noqa: ARG002  # whatever it is, KMS does not say how old
        return True

    async def _opened(self, blob: bytes, context: bytes) -> bytes:
        try:
            return await self._kms.decrypt(blob, context={_MEMBER: context.hex()})
        except Refused as error:
            if error.reason != "access_denied":
                raise
            # A blob that seems to be of another key is answered like this as well. Ours opens what it wraps, or says why not.
            await self._unwrap_a_probe()
            raise CannotOpen("unknown_key") from error

    async def _unwrap_a_probe(self) -> None:
        context = {_MEMBER: _PROBE.hex()}
        await self._kms.decrypt((await self._kms.encrypt(_PROBE, context=context)).blob, context=context)
