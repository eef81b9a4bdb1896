"""What the loader of the configuration is given: a way to the vault that the file itself names, and the keys that open seals.

Nothing of it goes on: the vault is asked once, for everything, within a bound, and let go.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from broker.config.kept import SEALED, Doorway, Unread
from broker.config.model import Settings
from broker.config.tree import Path
from broker.core.secret import Secret
from broker.keys.configured import open_value, seal_value


class VaultKeeper:
    """``sections``: of which secrets are needed; None for all."""

    def __init__(self, *, sections: frozenset[str] | None = None) -> None:
        self._sections = sections

    def needs(self, key: Path) -> bool:
        """See ``Keeper``."""
        return self._sections is None or key[0] in self._sections

    def open(self, sealed: str, *, key: str, masters: Sequence[bytes]) -> str | None:
        """See ``Keeper``."""
        return open_value(sealed.removeprefix(SEALED), key=key, masters=masters)

    def read(self, doorway: Doorway, paths: Collection[str]) -> Mapping[str, Mapping[str, Secret] | Unread]:
        """See ``Keeper``."""
        what = f"{len(paths)} secrets stand in the vault {doorway.secrets.provider}, which this version does not ask"
        raise Unread(what, "write them out, or name files")


def sealed_value(settings: Settings, *, key: str, text: str) -> str:
    """``text`` as it may stand in the configuration file, at the dotted ``key``."""
    return SEALED + seal_value(text, key=key, masters=settings.encryption.all_key_bytes())
