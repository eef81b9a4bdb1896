"""A configuration file for programs, with its secrets from wherever they stand: files, the environment, a vault.

The file has the broker's form, and may hold any part of it. This is the one module here that needs more than the base
installation: it reads with the broker's own loader, which it imports when it is asked to.
"""

from __future__ import annotations

import os

from zerotrust_kerberos.sdk.secret_manager import ZeroTrustError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self, TypeVar

    from broker.assembly.application import Excerpt
    from broker.core.secret import Secret

    _T = TypeVar("_T")

_EXIT_CONFIGURATION = 2
# Names that other products' documents give to the same vaults.
_PROVIDERS = {
    "hashicorp-vault": "hashicorp",
    "openbao": "hashicorp",
    "aws-secrets-manager": "aws",
    "azure-key-vault": "azure",
    "cyberark-conjur": "cyberark",
    "kubernetes-secrets": "kubernetes",
}


class Config:
    """A loaded configuration. Use it in a ``with`` block, or call ``wipe()``, where its secrets are to end before it does."""

    def __init__(self, excerpt: Excerpt) -> None:
        self._excerpt = excerpt

    def get_secret(self, key: str) -> Secret:
        """The value of a dotted key, such as ``redis.password``: an object with ``reveal()`` that shows in no repr.

        What the file and the environment say nothing of is looked for in the vault, as the field behind the last dot:
        ``redis.password`` is the field ``password`` of the secret ``redis``.

        Raises:
            ZeroTrustError: It is nowhere.
        """
        return _told(lambda: self._excerpt.secret(key))

    def get(self, key: str) -> object:
        """The value of a key that is no secret, as the file has it; None where it has none.

        Raises:
            ZeroTrustError: It is a secret.
        """
        return _told(lambda: self._excerpt.plain(key))

    def wipe(self) -> None:
        """Overwrite every secret of it; once is enough."""
        self._excerpt.wipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return "Config(***)"


class ConfigLoader:
    """Loads configurations."""

    @staticmethod
    def load(
        config_file: str | os.PathLike[str],
        secrets_provider: str | None = None,
        secrets_config: Mapping[str, str | None] | None = None,
    ) -> Config:
        """The configuration of a private file, with the environment over it.

        Args:
            config_file: The file; like all that hold secrets, nobody else's to read.
            secrets_provider: The vault: ``hashicorp-vault``, ``aws-secrets-manager``, ``azure-key-vault``, ``cyberark-conjur``,
                ``kubernetes-secrets``, or the broker's names. Without it, the file's own section ``secrets``.
            secrets_config: How it is reached: the keys of ``secrets.config``.

        Raises:
            ZeroTrustError: ``configuration``: each fault of the file in a line, with its place and its fix.
        """
        try:
            from broker.assembly.application import excerpt_of  # noqa: PLC0415  the one named exception
        except ImportError as error:
            what = f"ConfigLoader needs more than the base installation (no module {error.name})"
            raise _error(f"{what} [configuration] — run: pip install 'zerotrust-kerberos-link[broker]'") from error
        return _told(
            lambda: Config(
                excerpt_of(config_file, environ=os.environ, section=_section(secrets_provider, secrets_config))
            )
        )


def _section(provider: str | None, config: Mapping[str, str | None] | None) -> dict[str, object] | None:
    if provider is None:
        if config is not None:
            raise _error(
                "secrets_config says nothing without secrets_provider [configuration] — run: name the provider"
            )
        return None
    missing = sorted(key for key, value in (config or {}).items() if value is None)
    if missing:
        what = f"secrets_config has no value for {', '.join(missing)}"
        raise _error(f"{what} [configuration] — run: export the variables it comes from")
    return {"provider": _PROVIDERS.get(provider, provider), "config": dict(config or {})}


def _told(work: Callable[[], _T]) -> _T:
    from broker.core.errors import ConfigurationError  # noqa: PLC0415  as above

    try:
        return work()
    except ConfigurationError as error:
        raise _error("\n".join(error.problems)) from None


def _error(text: str) -> ZeroTrustError:
    return ZeroTrustError(text, code="configuration", exit_status=_EXIT_CONFIGURATION)
