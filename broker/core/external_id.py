"""External IDs that are computed and not chosen: one for each target account, the same at every instance and for ever.

An external ID tells a role that the broker acts for this installation and for nobody else who might have talked it into
assuming the role (IAM User Guide, "The confused deputy problem"). AWS does not treat it as a secret, and CloudTrail of
the target account shows it; what counts is that no other account's can be guessed from it, hence the HMAC.

Standard library only, and below the room of the keys, because the configuration must know the IDs it stands for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

from broker.core.roles import RoleArn

# Changed with the form of the message, never with the key or the version in it: every trust policy would have to follow.
_LABEL = b"zerotrust/external-id/v1"
# 160 bits: out of reach of guessing, and 32 characters of base32 without padding.
_DIGEST_BYTES = 20


@dataclass(frozen=True, slots=True)
class ExternalIdKey:
    """The key, and which of its versions is sent now."""

    key: bytes = field(repr=False)
    version: int

    def current(self, arn: RoleArn) -> str:
        """What the broker sends to a role of this account."""
        return self._made(arn, self.version)

    def next(self, arn: RoleArn) -> str:
        """What it will send when the version is raised by one; trust policies accept it before that."""
        return self._made(arn, self.version + 1)

    def _made(self, arn: RoleArn, version: int) -> str:
        # None of the parts holds a NUL, so no two sets of parts make one message.
        message = b"\0".join((_LABEL, arn.partition.encode(), arn.account.encode(), b"%d" % version))
        digest = hmac.digest(self.key, message, hashlib.sha256)[:_DIGEST_BYTES]
        return f"zerotrust-v{version}-{base64.b32encode(digest).decode().lower()}"
