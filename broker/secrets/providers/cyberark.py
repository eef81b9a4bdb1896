"""Secrets of CyberArk Conjur: a path is the identifier of a variable, whose value is one text.

A secret of one field ``value`` is that text; one of other fields is a JSON object of strings. Conjur keeps twenty versions,
numbered from 1. What it cannot do is said and not imitated: it has no check-and-set, variables come and go by policy only
(loaded by whoever may, never by us), and a value cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker.core.secret import Secret
from broker.remote.conjur import Conjur
from broker.remote.failure import Missing, Refused, RemoteFailure
from broker.secrets.one_text import fields_of, text_of
from broker.secrets.provider import Version, is_path

_VERSION_DIGITS = 9


class CyberArkProvider:
    """See ``Provider``."""

    def __init__(self, *, conjur: Conjur) -> None:
        self._conjur = conjur

    async def read(self, path: str, *, version: str | None = None) -> Version:
        """See ``Provider``. Raises ``Missing`` for a version that is no number, too."""
        number = await self._newest(path) if version is None else _number(version)
        return Version(fields=fields_of(await self._conjur.value(path, version=number)), number=str(number))

    async def write(self, path: str, fields: Mapping[str, Secret], *, cas: int | None = None) -> str:
        """See ``Provider``. The number is that of the newest version afterwards, which another writer's may be."""
        if cas is not None:
            raise Refused("Conjur cannot check a version before it writes", reason="cas_unsupported")
        text = text_of(fields)
        if not text:
            raise Refused("Conjur takes no empty value", reason="empty_value")
        try:
            await self._conjur.set(path, text)
        except Missing:
            what = "Conjur has no variable of this name, or does not let us see it"
            raise Refused(f"{what} — fix: declare it in a policy (`!variable`)", reason="not_declared") from None
        return str(await self._newest(path))

    async def delete(self, path: str) -> None:  # noqa: ARG002  # nothing is ever sent
        """Never: a value of Conjur's is removed with its variable, by a policy."""
        what = "Conjur deletes nothing by request"
        raise Refused(f"{what} — fix: remove the variable by a policy (`!delete`)", reason="delete_unsupported")

    async def list(self, prefix: str) -> Sequence[str]:
        """See ``Provider``. Variables without a value are there too: Conjur lists what a policy declares."""
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        return sorted(name for name in await self._conjur.variables() if name.startswith(below) and is_path(name))

    async def ping(self) -> str | None:
        """See ``Provider``."""
        try:
            await self._conjur.look()
        except RemoteFailure as error:
            return str(error)
        return None

    async def close(self) -> None:
        """See ``Provider``."""
        await self._conjur.close()

    async def _newest(self, path: str) -> int:
        versions = await self._conjur.versions(path)
        if not versions:
            raise Missing("the variable in Conjur has no value yet", reason="not_found")
        return versions[-1]


def _number(version: str) -> int:
    # Longer ones are no numbers to Python (PYTHONINTMAXSTRDIGITS), nor to Conjur, whose twenty are counted from 1.
    if not (version.isascii() and version.isdecimal() and len(version) <= _VERSION_DIGITS):
        raise Missing("Conjur's versions are numbers", reason="version_not_found")
    return int(version)
