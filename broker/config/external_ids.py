"""The section `aws.external_ids`: the key of the external IDs that the broker computes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from broker.config.section import Section
from broker.config.values import AsText, key_bytes, matching, parse_key
from broker.core.external_id import ExternalIdKey
from broker.core.secret import Secret


class ExternalIds(Section):
    """For hops with `derive_external_id`. The key is none of `encryption`, whose changes must not change any trust policy."""

    key: Annotated[Secret, AsText(parse_key)] = Field(
        description="Secret. 32 random bytes in base64, the same at all instances: `head -c 32 /dev/urandom | base64`."
    )
    version: Annotated[str, matching(r"v[1-9][0-9]{0,5}", "is not a version", "write v1, v2, ...")] = Field(
        default="v1",
        description="Raise it by one to change all derived external IDs, once every trust policy accepts the next "
        "(`zerotrust-admin doctor --roles`).",
    )

    def made(self) -> ExternalIdKey:
        """What computes them."""
        return ExternalIdKey(key=key_bytes(self.key), version=int(self.version.removeprefix("v")))
