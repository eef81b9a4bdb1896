"""Azure Key Vault: a path is a name there, and a secret's fields are its one text.

Names there are narrower than our paths: letters, digits and hyphens, 127 of them, and capitals are no others. So each path has
exactly one name, and no two paths have the same:

    /              two hyphens, as Microsoft's own libraries write a step
    a-z 0-9        themselves
    -              itself between two of those, else as others
    others         three hyphens and two hexadecimal digits: ``DB_1`` is ``---44---42---5f1``
    too long       four hyphens and the SHA-256 of the path, which then is the tag ``path``

What others made can be read where its name, in small letters, is one that a path has: ``db-password`` is, and ``app--key``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from broker.core.secret import Secret
from broker.remote.azure_secrets import TEXT_MAX, AzureSecrets, Held
from broker.remote.failure import Malformed, Missing, Refused, RemoteFailure
from broker.remote.tries import bounded
from broker.secrets.one_text import fields_of, text_of
from broker.secrets.provider import Version, is_path

# Characters ("Vault name and Object name").
NAME_MAX = 127
# The tag with the path of a secret whose name is a hash; a tag's value has 256 characters at the most, as a path has.
PATH_TAG = "path"
_HASHED = "----"
_STEP = "--"
_STRANGE = re.compile(r"[^a-z0-9-]|(?<![a-z0-9])-|-(?![a-z0-9])")
_PART = re.compile(r"(?P<escape>---[0-9a-f]{2})|(?P<step>--)|(?P<plain>[a-z0-9-])")
_VERSION = re.compile(r"[0-9a-f]{32}")
_PING_SECONDS = 1.8


def name_of(path: str) -> str:
    """The name in Key Vault that a path stands for."""
    name = _STRANGE.sub(lambda found: _STEP if found[0] == "/" else f"---{ord(found[0]):02x}", path)
    return name if len(name) <= NAME_MAX else f"{_HASHED}{hashlib.sha256(path.encode()).hexdigest()}"


def path_of(name: str, tags: Mapping[str, str]) -> str | None:
    """The path that has this name; None where no path has."""
    small = name.lower()
    path = tags.get(PATH_TAG, "") if small.startswith(_HASHED) else "".join(map(_read, _PART.finditer(small)))
    return path if is_path(path) and name_of(path) == small else None


class KeyVault:
    """See ``Provider``."""

    def __init__(self, *, secrets: AzureSecrets) -> None:
        self._secrets = secrets

    async def read(self, path: str, *, version: str | None = None) -> Version:
        """See ``Provider``."""
        if version is not None and not _VERSION.fullmatch(version):
            raise Missing("a version in Key Vault has 32 hexadecimal digits", reason="version_not_found")
        held = await self._secrets.get(name_of(path), version)
        _require(held, path)
        return Version(fields=fields_of(held.text), number=held.version, made=held.made)

    async def write(self, path: str, fields: Mapping[str, Secret], *, cas: int | None = None) -> str:
        """See ``Provider``. A secret that was deleted comes back, and then has this version."""
        if cas is not None:
            raise Refused("Key Vault cannot check a version before it writes", reason="cas_unsupported")
        text, name = text_of(fields), name_of(path)
        if len(text.reveal().encode()) > TEXT_MAX:
            raise Refused(f"a secret in Key Vault has at most {TEXT_MAX} bytes", reason="too_large")
        return await self._secrets.set(name, text, tags={PATH_TAG: path} if name.startswith(_HASHED) else {})

    async def delete(self, path: str) -> None:
        """See ``Provider``. All its versions; it can come back (`az keyvault secret recover`, or a write)."""
        await self._secrets.delete(name_of(path))

    async def list(self, prefix: str) -> Sequence[str]:
        """See ``Provider``."""
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        paths = (path_of(name, tags) for name, tags in await self._secrets.names())
        return sorted(path for path in paths if path is not None and path.startswith(below))

    async def ping(self) -> str | None:
        """See ``Provider``."""
        try:
            async with bounded(_PING_SECONDS):
                await self._secrets.look()
        except RemoteFailure as error:
            return str(error)
        return None

    async def close(self) -> None:
        """See ``Provider``."""
        await self._secrets.close()


def _read(part: re.Match[str]) -> str:
    if escape := part["escape"]:
        return chr(int(escape[-2:], 16))
    return "/" if part["step"] else part["plain"]


def _require(held: Held, path: str) -> None:
    """A hash in the name proves nothing about what somebody put under it."""
    if name_of(path).startswith(_HASHED) and held.tags.get(PATH_TAG) != path:
        raise Malformed("the secret in Key Vault does not say that it has this path", reason="other_path")
