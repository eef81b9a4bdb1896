"""The port behind which every vault stands, the integrated one and those of others.

A secret is a path and, in each version, a few named fields of text (as in a KV engine, version 2). A store that keeps one
text a secret shows it as the field ``value``, or, where the text is a JSON object of strings, its members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from broker.core.secret import Secret
from broker.core.secret_path import PATH_MAX, is_path

__all__ = ["PATH_MAX", "VALUE", "Provider", "Version", "is_path"]

# The field of a secret that has one.
VALUE = "value"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a secret, read. ``number`` is the backend's own name for it, a count in most.

    ``lease_ends``: when the values stop to work, for those that were made for the reader.
    """

    fields: Mapping[str, Secret] = field(repr=False)
    number: str
    made: datetime | None = None
    lease_ends: datetime | None = None


class Provider(Protocol):
    """A vault. What it raises is of ``broker.remote.failure``."""

    async def read(self, path: str, *, version: str | None = None) -> Version:
        """The newest version, or the one asked for. Raises ``Missing`` where it was never there, or is deleted."""

    async def write(self, path: str, fields: Mapping[str, Secret], *, cas: int | None = None) -> str:
        """A new version, and its number.

        ``cas`` is the number that must be the newest one now, 0 where there must be none; None: whatever there is. A backend
        that cannot promise this raises ``Refused`` with the reason ``cas_unsupported``, for every ``cas`` that is not None.
        """

    async def delete(self, path: str) -> None:
        """Away with the newest version; whether it can come back is the backend's."""

    async def list(self, prefix: str) -> Sequence[str]:
        """The paths below, whole, in order."""

    async def ping(self) -> str | None:
        """None while it answers, else what is wrong: within two seconds."""

    async def close(self) -> None:
        """Let connections and tokens go."""
