"""Secrets of an Azure Key Vault, by their names there: one text each, in versions that only whole secrets are deleted with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from azure.core.rest import HttpRequest
from azure.keyvault.secrets.aio import SecretClient

from broker.core.secret import Secret
from broker.remote.azure import AzureVault
from broker.remote.failure import Conflict, Malformed, Unreachable
from broker.remote.tries import bounded, tried

# Bytes ("About Azure Key Vault secrets": 25k bytes each).
TEXT_MAX = 25_000
# Seconds that a write may take: it is made once.
_WRITING = 3.0


@dataclass(frozen=True, slots=True)
class Held:
    """One version. ``tags`` are what somebody wrote beside it, readable to whoever may list."""

    text: Secret = field(repr=False)
    version: str
    tags: Mapping[str, str]
    made: datetime | None


class AzureSecrets:
    """Names are as Key Vault takes them. Raises ``RemoteFailure``, within ``tries.PATIENCE``."""

    def __init__(self, vault: AzureVault) -> None:
        self._vault = vault
        self._opened: SecretClient | None = None

    async def get(self, name: str, version: str | None = None) -> Held:
        """The newest version, or one by its id. ``Refused`` with the reason ``disabled``: it is, and an operator's to enable."""
        client = self._client()
        found = await self._vault.ask("get secret", lambda: client.get_secret(name, version))
        about = found.properties
        if not isinstance(found.value, str) or not isinstance(about.version, str) or about.name is None:
            raise Malformed("get secret: no secret in the answer", reason="malformed_answer")
        if about.name.lower() != name.lower():
            raise Malformed("get secret: another secret than the one asked for", reason="malformed_answer")
        return Held(Secret(found.value), about.version, about.tags or {}, about.created_on)

    async def set(self, name: str, text: Secret, *, tags: Mapping[str, str]) -> str:
        """A new version, and its id. A secret that was deleted comes back, and then has this version."""
        async with bounded():
            try:
                return await self._set(name, text, tags)
            except Conflict as error:
                if error.reason != "being_deleted":
                    raise
            await self._recover(name)
            # Until it is back, which takes some seconds, Key Vault says that it is not.
            return await tried(lambda: self._set_when_back(name, text, tags))

    async def delete(self, name: str) -> None:
        """With all its versions; it can come back for as long as the vault keeps what was deleted."""
        await self._send("delete secret", "DELETE", f"secrets/{name}")

    async def names(self) -> Sequence[tuple[str, Mapping[str, str]]]:
        """Name and tags of all secrets that are not deleted."""
        client = self._client()

        async def listed() -> list[tuple[str, Mapping[str, str]]]:
            found = client.list_properties_of_secrets()
            return [(each.name, each.tags or {}) async for each in found if each.name is not None]

        return await self._vault.ask("list secrets", listed)

    async def look(self) -> None:
        """Whether the vault answers us: the first page of the names."""
        client = self._client()

        async def first() -> None:
            async for _ in client.list_properties_of_secrets(max_page_size=1):
                return

        await self._vault.ask("list secrets", first)

    async def close(self) -> None:
        """Let the connections go."""
        await self._vault.close()

    async def _set(self, name: str, text: Secret, tags: Mapping[str, str]) -> str:
        client = self._client()
        made = await self._vault.ask(
            "set secret",
            lambda: client.set_secret(name, text.reveal(), tags=dict(tags) or None, read_timeout=_WRITING),
            twice=False,
        )
        if not isinstance(made.properties.version, str):
            raise Malformed("set secret: no version in the answer", reason="malformed_answer")
        return made.properties.version

    async def _set_when_back(self, name: str, text: Secret, tags: Mapping[str, str]) -> str:
        try:
            return await self._set(name, text, tags)
        except Conflict as error:
            what = f"{error}: it is coming back, and can be written in a few seconds"
            raise Unreachable(what, reason="being_recovered") from error

    async def _recover(self, name: str) -> None:
        try:
            await self._send("recover secret", "POST", f"deletedsecrets/{name}/recover")
        except Conflict:
            # Somebody else has asked for it.
            return

    async def _send(self, place: str, method: str, path: str) -> None:
        """What the SDK would wait for in steps of two seconds."""
        client = self._client()

        async def sent() -> None:
            answer = await client.send_request(HttpRequest(method, f"/{path}"))
            answer.raise_for_status()
            if not isinstance(answer.json()["id"], str):
                raise Malformed(f"{place}: not an answer of Key Vault", reason="malformed_answer")

        await self._vault.ask(place, sent, twice=False)

    def _client(self) -> SecretClient:
        if self._opened is None:
            self._opened = self._vault.client(SecretClient)
        return self._opened
