"""The section `audit`: where records are kept, and who witnesses them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from broker.config.fault import fault
from broker.config.section import Section
from broker.config.sinks import Sink, distinct
from broker.config.values import AbsolutePath, AsText, matching, split_url


def _witness_url(text: str) -> str:
    """Not only https: what goes to a witness and comes back is signed and no secret."""
    url = split_url(text)
    if url.scheme not in ("https", "http") or not url.hostname or url.username is not None:
        raise fault("is not the URL of a witness", "write https://HOST or http://HOST:PORT")
    return text


class Witness(Section):
    """Somebody else's program that signs for the log as long as it only grows: `zerotrust-admin audit witness`."""

    url: Annotated[str, AsText(_witness_url)] = Field(
        description="`https://HOST[:PORT][/PATH]` or `http://...`; `/add-checkpoint` is put behind it."
    )
    public_key: Annotated[
        str, matching(r"[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+", "is not a witness's key", "write NAME+KEYID+BASE64")
    ] = Field(description="The word that the witness prints when it starts: its name and its public key.")


class Audit(Section):
    """The record of every attempt."""

    directory: AbsolutePath = Field(
        description="The folder of the record files; the broker must be able to write there."
    )
    witnesses: tuple[Witness, ...] = Field(
        default=(), description="Each is shown every checkpoint; what it refuses to sign for is an alarm."
    )
    sinks: Annotated[tuple[Sink, ...], AfterValidator(distinct)] = Field(
        default=(), description="Where records go beside the files."
    )
