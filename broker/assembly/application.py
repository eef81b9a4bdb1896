"""A configuration for somebody else's program: any part of the broker's form, its secrets sealed in memory until used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from broker.assembly.resolver import VaultResolver
from broker.config.load import Part, load_part
from broker.config.resolve import Bootstrap, Unread
from broker.core.errors import ConfigurationError
from broker.core.secret import Secret, SecretAtRest


class Excerpt:
    """What a file holds, by dotted key."""

    def __init__(self, part: Part, *, resolver: VaultResolver) -> None:
        self._secrets = {key: SecretAtRest(value) for key, value in part.secrets.items()}
        self._plain = dict(part.plain)
        self._bootstrap: Bootstrap | None = part.bootstrap
        self._resolver = resolver

    def secret(self, key: str) -> Secret:
        """Of the file or the environment, else of the vault.

        Raises:
            ConfigurationError: It is in neither.
        """
        if key not in self._secrets:
            found = self._plain.get(key)
            self._secrets[key] = SecretAtRest(found if isinstance(found, str) else self._asked(key).reveal())
        return self._secrets[key]

    def plain(self, key: str) -> object:
        """None where there is none.

        Raises:
            ConfigurationError: It is a secret.
        """
        if key in self._secrets:
            raise ConfigurationError([f"{key}: is a secret — fix: ask for it with get_secret"])
        return self._plain.get(key)

    def wipe(self) -> None:
        """Every secret, and the way to the vault."""
        for secret in self._secrets.values():
            secret.wipe()
        self._bootstrap = None

    def _asked(self, key: str) -> Secret:
        path, _, name = key.rpartition(".")
        path = path.replace(".", "/")
        if self._bootstrap is None or not path:
            raise ConfigurationError([f"{key}: has no value — fix: set it, as {name}_file, or name a vault"])
        try:
            answer = self._resolver.read(self._bootstrap, [path])[path]
        except Unread as unread:
            answer = unread
        if isinstance(answer, Unread):
            raise ConfigurationError([f"{key}: {answer.what} — fix: {answer.fix}"])
        if name not in answer:
            raise ConfigurationError([f"{key}: has no value, and the vault no such field — fix: set it in one of them"])
        return answer[name]


def excerpt_of(
    path: str | os.PathLike[str], *, environ: Mapping[str, str], section: Mapping[str, object] | None
) -> Excerpt:
    """Of a private file; ``section``: in the place of its own section `secrets`.

    Raises:
        ConfigurationError: With every problem that was found.
    """
    resolver = VaultResolver()
    return Excerpt(load_part(Path(path), environ=environ, resolver=resolver, secrets=section), resolver=resolver)
