"""The transit engine: a key that never leaves the vault encrypts and decrypts for us.

A ciphertext is the vault's own text, ``vault:v3:...``; the number is the version of the key. Associated data is authenticated
with it (AES-GCM, ChaCha20-Poly1305): what was encrypted with it opens with the same only.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from broker.remote.failure import Malformed, Missing, Refused
from broker.remote.hashicorp.vault import Vault
from broker.remote.hashicorp.wire import Json

# The reason of ``Refused`` where a ciphertext is altered, of another key, of other associated data, or of a version that was
# trimmed or is no longer allowed.
CIPHERTEXT_REFUSED = "ciphertext_refused"

_CIPHERTEXT = re.compile(r"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/=]+")
# Pieces. OpenBao takes at most a thousand strings in a request (max_request_json_strings); a piece has four.
_BATCH = 200
# How the vault says that a ciphertext is at fault; everything else that it does not take is the request's fault.
_OF_THE_CIPHERTEXT = ("invalid ciphertext", "authentication failed", "ciphertext or signature version is disallowed")


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of a batch: a ciphertext (text) or a plaintext (octets), and what is authenticated with it."""

    data: bytes | str
    associated_data: bytes = b""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What the vault says of a key; ``made`` by version."""

    name: str
    kind: str
    latest: int
    min_decryption: int
    is_exportable: bool
    is_deletable: bool
    made: Mapping[int, datetime]


def version_of(ciphertext: str) -> int:
    """The version of the key that made it.

    Raises:
        Refused: It is no ciphertext of a transit engine.
    """
    match = _CIPHERTEXT.fullmatch(ciphertext)
    if match is None:
        raise Refused("this is no ciphertext of a transit engine", reason=CIPHERTEXT_REFUSED)
    return int(match[1])


class Transit:
    """One key of one transit engine."""

    def __init__(self, *, vault: Vault, key: str, mount: str = "transit") -> None:
        self._vault = vault
        self._key = key
        self._mount = mount

    async def encrypt(self, plaintext: bytes, *, associated_data: bytes = b"") -> str:
        """The ciphertext, by the newest version of the key. Raises ``RemoteFailure``."""
        return (await self.encrypt_all([Item(plaintext, associated_data)]))[0]

    async def decrypt(self, ciphertext: str, *, associated_data: bytes = b"") -> bytes:
        """The plaintext.

        Raises:
            Refused: ``CIPHERTEXT_REFUSED``, or we may not.
            RemoteFailure: It cannot be asked.
        """
        return (await self.decrypt_all([Item(ciphertext, associated_data)]))[0]

    async def rewrap(self, ciphertext: str, *, version: int) -> str:
        """The same plaintext under that version. Raises like ``decrypt``."""
        piece: dict[str, str | int] = {"ciphertext": _checked(ciphertext), "key_version": version}
        return _ciphertext((await self._batch("rewrap", [piece]))[0])

    async def encrypt_all(self, items: Sequence[Item]) -> list[str]:
        """In order. One piece that fails fails all. Raises ``RemoteFailure``."""
        if any(isinstance(item.data, str) for item in items):
            raise TypeError("a plaintext is octets")
        pieces = [{"plaintext": _base64(item.data), **_associated(item)} for item in items]  # type: ignore[arg-type]
        return [_ciphertext(result) for result in await self._batch("encrypt", pieces)]

    async def decrypt_all(self, items: Sequence[Item]) -> list[bytes]:
        """In order. One piece that fails fails all. Raises like ``decrypt``."""
        pieces = [{"ciphertext": _checked(item.data), **_associated(item)} for item in items]
        return [_plaintext(result) for result in await self._batch("decrypt", pieces)]

    async def rotate(self) -> int:
        """A new version, which encrypts from here on: its number.

        Raises:
            RemoteFailure: Nothing has changed, or a version more exists.
        """
        path = f"{self._mount}/keys/{self._key}"
        answer = await self._vault.ask("POST", f"{path}/rotate", {}, is_repeatable=False)
        # Older Vaults answer 204.
        return _described(answer).latest if answer else (await self.info()).latest

    async def retire_before(self, version: int) -> None:
        """Let older versions open nothing any more (``min_decryption_version``). Raises ``RemoteFailure``."""
        path, body = f"{self._mount}/keys/{self._key}/config", {"min_decryption_version": version}
        await self._vault.ask("POST", path, body, is_repeatable=True)

    async def info(self) -> KeyInfo:
        """What the vault says of the key.

        Raises:
            Missing: There is none.
            RemoteFailure: It cannot be asked.
        """
        answer = await self._vault.ask("GET", f"{self._mount}/keys/{self._key}", is_repeatable=True)
        return _described(answer)

    async def ping(self) -> str | None:
        """None while it serves us, else what is wrong."""
        return await self._vault.ping()

    async def close(self) -> None:
        """Let the vault go."""
        await self._vault.close()

    async def _batch(self, action: str, pieces: Sequence[Mapping[str, str | int]]) -> list[Json]:
        """The results, in the order of what was asked. All of these may be asked twice: they change nothing there."""
        results: list[Json] = []
        for start in range(0, len(pieces), _BATCH):
            results += await self._some(action, pieces[start : start + _BATCH])
        return results

    async def _some(self, action: str, pieces: Sequence[Mapping[str, str | int]]) -> list[Json]:
        answer = await self._vault.ask(
            "POST",
            f"{self._mount}/{action}/{self._key}",
            {"batch_input": pieces},
            is_repeatable=True,
            # A batch with a bad piece: status 400, and results none the less.
            accept=frozenset({HTTPStatus.BAD_REQUEST}),
        )
        data = answer.get("data")
        results = data.get("batch_results") if isinstance(data, dict) else None
        if "errors" in answer:
            raise _refusal(", ".join(map(str, answer["errors"] or [])), self._key)
        if not isinstance(results, list) or len(results) != len(pieces):
            raise Malformed("the vault answers another batch than it was given", reason="malformed")
        for result in results:
            if not isinstance(result, dict):
                raise Malformed("the vault answers another batch than it was given", reason="malformed")
            if error := result.get("error"):
                raise _refusal(str(error), self._key)
        return results


def _refusal(words: str, key: str) -> Refused | Missing:
    if any(known in words for known in _OF_THE_CIPHERTEXT):
        return Refused(f"key {key} does not open this ciphertext: altered, or not its own", reason=CIPHERTEXT_REFUSED)
    if "key not found" in words:
        return Missing(f"the vault has no key {key}", reason="missing")
    return Refused(f"the vault does not take what key {key} is asked", reason="rejected")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _associated(item: Item) -> dict[str, str]:
    return {"associated_data": _base64(item.associated_data)} if item.associated_data else {}


def _checked(data: bytes | str) -> str:
    text = data if isinstance(data, str) else ""
    version_of(text)
    return text


def _ciphertext(result: Json) -> str:
    text = result.get("ciphertext")
    if not isinstance(text, str) or _CIPHERTEXT.fullmatch(text) is None:
        raise Malformed("the vault gives no ciphertext", reason="malformed")
    return text


def _plaintext(result: Json) -> bytes:
    text = result.get("plaintext")
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]  # what is no text raises TypeError
    except (TypeError, binascii.Error, ValueError) as error:
        raise Malformed("the vault gives no plaintext", reason="malformed") from error


def _described(answer: Json) -> KeyInfo:
    try:
        return _info(answer["data"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed("the vault does not describe the key as one does", reason="malformed") from error


def _info(data: Mapping[str, Any]) -> KeyInfo:
    made = {int(version): _moment(value) for version, value in data["keys"].items()}
    latest, oldest = data["latest_version"], data["min_decryption_version"]
    if type(latest) is not int or type(oldest) is not int or latest not in made:
        raise ValueError("versions")
    return KeyInfo(
        name=str(data["name"]),
        kind=str(data["type"]),
        latest=latest,
        min_decryption=oldest,
        is_exportable=data["exportable"] is not False,
        is_deletable=data["deletion_allowed"] is not False,
        made=made,
    )


def _moment(value: Any) -> datetime:
    """Seconds since 1970 for symmetric keys; a table with RFC 3339 for others."""
    if isinstance(value, int):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(value["creation_time"])
