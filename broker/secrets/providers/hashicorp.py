"""Vault and OpenBao: secrets of a KV engine (version 2), and credentials that other engines make when they are read.

A path that begins with one of the leased mounts is read there as it stands (``database/creds/app``), any other below the KV
engine. What is leased ends at its time, or when the broker lets its token go: the vault ends whatever hangs on a token with it.
The broker renews no lease: who reads one uses it until ``lease_ends`` and then reads anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.remote.failure import Malformed, Missing, Refused
from broker.remote.hashicorp.vault import Vault
from broker.remote.hashicorp.wire import Json
from broker.secrets.provider import Version, is_path

# Folders that one listing looks into: a request each.
_FOLDERS_MAX = 500
# Of a version that is asked for: KV counts in an int.
_VERSION_DIGITS = 9


class HashicorpProvider:
    """See ``Provider``."""

    def __init__(self, *, vault: Vault, mount: str, leased_mounts: Iterable[str], clock: Clock) -> None:
        self._vault = vault
        self._mount = mount
        self._leased = tuple(f"{mount}/" for mount in leased_mounts)
        self._clock = clock

    async def read(self, path: str, *, version: str | None = None) -> Version:
        """See ``Provider``. Of what is leased each reading makes another one, and there are no versions to ask for."""
        if self._is_leased(path):
            return await self._lease(path, version)
        if version is not None and not _is_count(version):
            raise Missing("versions are counted from 1", reason="missing")
        query = f"?version={version}" if version is not None else ""
        answer = await self._vault.ask("GET", f"{self._mount}/data/{path}{query}", is_repeatable=True)
        with _Described():
            data, metadata = answer["data"]["data"], answer["data"]["metadata"]
            made = datetime.fromisoformat(metadata["created_time"])
            return Version(fields=_fields(data), number=str(_number(metadata)), made=made)

    async def write(self, path: str, fields: Mapping[str, Secret], *, cas: int | None = None) -> str:
        """See ``Provider``. Never tried twice, but where no connection stood: a version more could be somebody else's loss."""
        self._refuse_leased(path)
        body: dict[str, Any] = {"data": {name: value.reveal() for name, value in fields.items()}}
        if cas is not None:
            body["options"] = {"cas": cas}
        answer = await self._vault.ask("POST", f"{self._mount}/data/{path}", body, is_repeatable=False)
        with _Described():
            return str(_number(answer["data"]))

    async def delete(self, path: str) -> None:
        """See ``Provider``. The version can be brought back in the vault until it is destroyed there; others stay as they are."""
        self._refuse_leased(path)
        await self._vault.ask("DELETE", f"{self._mount}/data/{path}", is_repeatable=False)

    async def list(self, prefix: str) -> Sequence[str]:
        """See ``Provider``. Deleted ones are listed for as long as the vault knows of them; names that are no paths are not."""
        found: list[str] = []
        folders = [prefix]
        for _ in range(_FOLDERS_MAX):
            if not folders:
                return sorted(found)
            folder = folders.pop()
            for name in await self._names(folder):
                path = f"{folder}/{name}" if folder else name
                if not is_path(path.removesuffix("/")):
                    continue
                (folders if path.endswith("/") else found).append(path.removesuffix("/"))
        raise Refused(f"more than {_FOLDERS_MAX} folders are below; list a deeper one", reason="too_many")

    async def ping(self) -> str | None:
        """See ``Provider``."""
        return await self._vault.ping()

    async def keep_logged_in(self) -> None:
        """For as long as the broker runs."""
        await self._vault.keep_logged_in()

    async def close(self) -> None:
        """See ``Provider``. Ends what was leased."""
        await self._vault.close()

    async def _names(self, folder: str) -> Sequence[str]:
        try:
            answer = await self._vault.ask("LIST", f"{self._mount}/metadata/{folder}", is_repeatable=True)
        except Missing:
            return []
        with _Described():
            return [str(name) for name in answer["data"]["keys"]]

    async def _lease(self, path: str, version: str | None) -> Version:
        if version is not None:
            raise Missing("what is made when it is read has no versions", reason="missing")
        asked = self._clock.now()
        answer = await self._vault.ask("GET", path, is_repeatable=False)
        with _Described():
            lasts = answer["lease_duration"]
            if type(lasts) is not int or not lasts or not answer["lease_id"]:
                raise Refused("the engine gives no lease there: read what is configured elsewhere", reason="no_lease")
            ends = asked + timedelta(seconds=lasts)
            return Version(fields=_fields(answer["data"]), number=str(answer["lease_id"]), made=asked, lease_ends=ends)

    def _is_leased(self, path: str) -> bool:
        return path.startswith(self._leased)

    def _refuse_leased(self, path: str) -> None:
        if self._is_leased(path):
            raise Refused("what is there is made when it is read", reason="leased")


class _Described:
    """Whatever is not as the vault's documentation describes it ends in ``Malformed``."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError, AttributeError)):
            raise Malformed("the vault's answer is not as it is documented", reason="malformed") from error


def _fields(data: Json) -> dict[str, Secret]:
    """Text as it is; what else JSON holds as JSON, because a field is text."""
    return {name: Secret(value if isinstance(value, str) else json.dumps(value)) for name, value in data.items()}


def _number(metadata: Json) -> int:
    number = metadata["version"]
    if type(number) is not int or number < 1:
        raise ValueError("version")
    return number


def _is_count(version: str) -> bool:
    return version.isascii() and version.isdigit() and not version.startswith("0") and len(version) <= _VERSION_DIGITS
