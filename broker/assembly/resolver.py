"""What the loader of the configuration is given: a way to the vault that the file itself names, and the keys that open seals.

The vault is asked once, for everything, within a bound, and let go: nothing of it goes on. So what is leased is refused, for it
would end as soon as it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from broker.assembly.aws import credentials_of
from broker.assembly.keys import read_keys
from broker.assembly.providers import external
from broker.assembly.vault import vault_of
from broker.config.model import Settings
from broker.config.resolve import PATIENCE_SECONDS, SEALED, AwsBootstrap, Bootstrap, IntegratedBootstrap, Unread
from broker.config.tree import Path
from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError
from broker.core.secret import Secret
from broker.keys.configured import open_value, seal_value
from broker.keys.hierarchy import KeyHierarchy
from broker.remote.failure import DENIED, Missing, Refused, RemoteFailure, Unreachable
from broker.secrets.provider import Provider, is_path
from broker.sts.base import BaseCredentials

_T = TypeVar("_T")
# Seconds between two tries of a vault that does not answer: at boot it may come up beside us.
_AGAIN_SECONDS = 0.5

_NO_PATH = Unread(
    "does not say where its secret stands", "write PATH#FIELD with a path of letters, digits and . _ @ - /"
)
_MISSING = Unread("stands in a secret that is not there", "put it there, or name another path")
_DENIED = Unread(
    "stands in a secret that the vault does not let us read", "allow it there, to whom section secrets names"
)
_LEASED = Unread("stands in a secret that is leased, and would end at once", "name one that stays")


class VaultResolver:
    """``sections``: of which secrets are needed; None for all. ``patience``: seconds for a vault that does not answer."""

    def __init__(self, *, sections: frozenset[str] | None = None, patience: float = PATIENCE_SECONDS) -> None:
        self._sections = sections
        self._patience = patience

    def needs(self, key: Path) -> bool:
        """See ``Resolver``."""
        return self._sections is None or key[0] in self._sections

    def open(self, sealed: str, *, key: str, masters: Sequence[bytes]) -> str | None:
        """See ``Resolver``."""
        return open_value(sealed.removeprefix(SEALED), key=key, masters=masters)

    def read(self, bootstrap: Bootstrap, paths: Collection[str]) -> Mapping[str, Mapping[str, Secret] | Unread]:
        """See ``Resolver``."""
        return _run(_read(bootstrap, paths, patience=self._patience))


def sealed_value(settings: Settings, *, key: str, text: str) -> str:
    """``text`` as it may stand in the configuration file, at the dotted ``key``."""
    return SEALED + seal_value(text, key=key, masters=settings.encryption.all_key_bytes())


def _run(work: Coroutine[object, object, _T]) -> _T:
    """In a thread: an application that loads its configuration may have a loop of its own running."""
    with ThreadPoolExecutor(1, thread_name_prefix="configuration") as thread:
        return thread.submit(asyncio.run, work).result()


async def _read(
    bootstrap: Bootstrap, paths: Collection[str], *, patience: float
) -> dict[str, Mapping[str, Secret] | Unread]:
    provider = await _provider(bootstrap)
    name = bootstrap.secrets.provider
    last = "no answer"
    try:
        async with asyncio.timeout(patience):
            while True:
                try:
                    return {path: await _one(provider, path) for path in paths}
                except Unreachable as failure:
                    last = str(failure)
                    await asyncio.sleep(_AGAIN_SECONDS)
    except TimeoutError:
        fix = "start it, or correct the section secrets"
        raise Unread(f"stands in the vault ({name}), which does not answer: {last}", fix, later=True) from None
    except RemoteFailure as failure:
        fix = "correct the section secrets, or what the vault allows"
        raise Unread(f"stands in the vault ({name}), which refuses us: {failure}", fix) from failure
    finally:
        await provider.close()


async def _one(provider: Provider, path: str) -> Mapping[str, Secret] | Unread:
    if not is_path(path):
        return _NO_PATH
    try:
        found = await provider.read(path)
    except Missing:
        return _MISSING
    except Refused as refusal:
        if refusal.reason != DENIED:
            raise
        return _DENIED
    return found.fields if found.lease_ends is None else _LEASED


async def _provider(bootstrap: Bootstrap) -> Provider:
    if isinstance(bootstrap, IntegratedBootstrap):
        return vault_of(bootstrap, hierarchy=await _keys(bootstrap), clock=SystemClock())
    try:
        made = external(bootstrap.secrets, keys=None, clock=SystemClock(), base=_base(bootstrap))
    except ConfigurationError as error:
        what, _, fix = error.problems[0].partition(" — fix: ")
        raise Unread(f"stands in a vault that is asked with keys of ours, and {what}", fix) from error
    except ValueError as error:
        fix = "let the broker log in another way, such as approle"
        raise Unread(f"stands in a vault that is not reached while the configuration is read: {error}", fix) from error
    if made is None:
        raise Unread("stands in no vault", "set secrets.provider")
    return made.provider


def _base(bootstrap: Bootstrap) -> BaseCredentials | None:
    """What signs requests to AWS. None: what AWS's SDK finds by itself, where the file says nothing of it."""
    aws = bootstrap.aws if isinstance(bootstrap, AwsBootstrap) else None
    return None if aws is None else credentials_of(aws)


async def _keys(bootstrap: IntegratedBootstrap) -> KeyHierarchy:
    try:
        return await read_keys(bootstrap)
    except ConfigurationError as error:
        what, _, fix = error.problems[0].partition(" — fix: ")
        raise Unread(f"stands in the integrated vault, whose keys cannot be had: {what}", fix) from error
