"""Documents that a vault's transit engine encrypts, and that lie as ciphertext where many may read: a Kubernetes Secret, git.

The key never leaves the vault. To rotate it, the ciphertext is rewrapped there: no plaintext comes out. The order makes every
moment a good one to be killed in:

1. rotate: the key has a version more; what was sealed by older ones still opens;
2. rewrap under the version that this made, and store in the place's version that was read: whoever else stored meanwhile wins,
   and we begin again with theirs;
3. read the place again, and let the vault open what lies there (by wrapping it once more);
4. only then, and only if asked to, forbid the versions before the one that was read: ``retire``.

A version that somebody else made is relied on by nobody: OpenBao 2.7.2 shows one whose client went away before it was kept, and
forgets it when it is unsealed the next time. One that was answered is kept, with all before it. Versions of documents never go
down, so what was verified stays good.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from broker.core.secret import Secret
from broker.remote.failure import Conflict, Malformed, Refused
from broker.remote.hashicorp.transit import Transit, version_of

# Bytes. Base64 in the vault and again in Kubernetes make 1.8 of one, and a Secret takes 1 MiB; requests to Vault take 32 MiB.
DOCUMENT_MAX = 512 * 1024
# How often a store begins again because somebody else stored meanwhile.
_TRIES = 5


class Place(Protocol):
    """Where a sealed document lies."""

    @property
    def name(self) -> str:
        """What people call it: ``kubernetes NAMESPACE/NAME#KEY``, ``file PATH``."""

    async def read(self) -> Sealed:
        """The ciphertext. Raises ``Missing``."""

    async def store(self, ciphertext: str, *, instead_of: Sealed | None) -> None:
        """Put it there. Raises ``Conflict`` where ``instead_of`` is not what lies there now; None: where anything does."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was read, and what the place knows it by."""

    ciphertext: str
    revision: object


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What became of a key and its documents. ``retired``: no version before it opens anything any more."""

    versions: Mapping[str, int]
    retired: int | None


async def seal(document: bytes, *, transit: Transit, place: Place, replace: bool, validate: bool) -> int:
    """Encrypt a JSON object and store it; the version of the key that sealed it.

    Args:
        document: The object's text; it comes back byte by byte.
        transit: The key.
        place: Where the ciphertext goes.
        replace: Whether something may lie there already.
        validate: Whether to read it back, decrypt it and compare.

    Raises:
        ValueError: It is no JSON object, or too large.
        Conflict: Something lies there.
        RemoteFailure: Nothing is stored, or it cannot be said.
    """
    members_of(document)
    # First what lies there, then the ciphertext: one that waited while others rewrapped and retired is not stored over theirs.
    before = await place.read() if replace else None
    ciphertext = await transit.encrypt(document)
    await place.store(ciphertext, instead_of=before)
    if validate and await transit.decrypt((await place.read()).ciphertext) != document:
        raise Malformed(f"{place.name}: what lies there is not what was sealed", reason="not_what_was_sealed")
    return version_of(ciphertext)


async def unseal(*, transit: Transit, place: Place) -> Secret:
    """The document's text.

    Raises:
        RemoteFailure: It cannot be had.
    """
    sealed = await place.read()
    try:
        plain = await transit.decrypt(sealed.ciphertext)
    except Refused:
        # Rewrapped and its old version retired, between our reading and our asking?
        again = await place.read()
        if again.ciphertext == sealed.ciphertext:
            raise
        plain = await transit.decrypt(again.ciphertext)
    members_of(plain)
    return Secret(plain.decode())


async def rewrap(places: Sequence[Place], *, transit: Transit, retire: bool) -> Rewrapped:
    """Rotate the key and bring the documents under its newest version, those too that an interrupted run left behind.

    Args:
        places: Documents of one key.
        transit: The key.
        retire: Forbid the versions before, in the end. Every document of the key must be among ``places``.

    Raises:
        RemoteFailure: Every document opens none the less.
    """
    for place in places:
        await place.read()  # where one is missing nothing is rotated
    newest = await transit.rotate()
    versions = {place.name: await _brought_forward(place, newest, transit) for place in places}
    retired = min(versions.values()) if retire else None
    # Never downwards: whoever retired more than this had seen documents of a later version.
    if retired is not None and retired > (await transit.info()).min_decryption:
        await transit.retire_before(retired)
    return Rewrapped(versions=versions, retired=retired)


async def _brought_forward(place: Place, newest: int, transit: Transit) -> int:
    """The version, at least ``newest``, under which the document lies there and opens."""
    for _ in range(_TRIES):
        sealed = await place.read()
        version = version_of(sealed.ciphertext)
        try:
            # The vault opens it to do so, and says nothing of what is in it.
            wrapped = await transit.rewrap(sealed.ciphertext, version=max(version, newest))
        except Refused:
            # Rewrapped and its old version retired, by somebody else and just now?
            if (await place.read()).ciphertext == sealed.ciphertext:
                raise
            continue
        if version >= newest:
            return version
        with suppress(Conflict):
            await place.store(wrapped, instead_of=sealed)
    raise Conflict(f"{place.name}: others store there all the time", reason="changed_meanwhile")


def members_of(document: bytes) -> dict[str, Any]:
    """The JSON object that a document is.

    Raises:
        ValueError: It is none, names a member twice, or is too large; the message shows nothing of it.
    """
    if len(document) > DOCUMENT_MAX:
        raise ValueError(f"the document has more than {DOCUMENT_MAX // 1024} KiB")
    try:
        found = json.loads(document.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, _Twice) else "the document is not a JSON object in UTF-8"
        # "from None": what could not be read may be a secret.
        raise ValueError(said) from None
    if not isinstance(found, dict):
        raise ValueError("the document is not a JSON object in UTF-8")  # noqa: TRY004  # of its text, not of a type
    return found


def only(document: Secret, names: Iterable[str]) -> dict[str, Any]:
    """Just what is named, ``outer.inner`` for a member of a member, by the names as given.

    Raises:
        LookupError: It is not there; the message shows nothing of the document but the name that was asked for.
    """
    whole = members_of(document.reveal().encode())
    found = {}
    for name in names:
        at: Any = whole
        for step in name.split("."):
            if not isinstance(at, dict) or step not in at:
                raise LookupError(f"the document has no {name}")
            at = at[step]
        found[name] = at
    return found


class _Twice(ValueError):
    """A member is there twice: which one counts would be anybody's guess."""


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice("the document names a member twice")
    return found
