"""What commands are given by the program's entry point, because only the assembly can make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

# Every command loads this page, and few of them what is named here.
if TYPE_CHECKING:
    from broker.admin.finding import Examine
    from broker.config.model import Settings
    from broker.config.resolve import Resolver
    from broker.reports.facts import KeyAge, Setup
    from broker.trust.finding import Finding


class SealedValue(Protocol):
    """Seals a text for one key of the configuration."""

    def __call__(self, settings: Settings, *, key: str, text: str) -> str:
        """See ``assembly.resolver``."""


@dataclass(frozen=True, slots=True)
class VaultFile:
    """A backup of the vault: when it was made, what of it was written or brought back, and the paths that were there already."""

    made: datetime
    secrets: int
    versions: int
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VaultSealed:
    """Secrets looked at, those sealed anew, and those that do not open and stay as they are."""

    seen: int = 0
    renewed: int = 0
    broken: int = 0


class VaultFileProblem(Exception):
    """It did not work; the text says what and the fix."""


class VaultFiles(Protocol):
    """See ``assembly.backup``."""

    def back_up(self, settings: Settings, file: Path, *, recovery: Path | None) -> VaultFile:
        """Write it."""

    def restore(self, settings: Settings, file: Path, *, recovery: Path | None, merge: bool) -> VaultFile:
        """Bring it back."""

    def verify(self, settings: Settings, file: Path, *, recovery: Path | None) -> VaultFile:
        """Try it."""

    def rewrap(self, settings: Settings, *, tell: Callable[[VaultSealed], None]) -> VaultSealed:
        """Seal the vault anew."""


@dataclass(frozen=True, slots=True)
class TransitAccess:
    """How ``secrets seal``, ``unseal`` and ``rewrap`` reach a vault's transit key, and the cluster that keeps what it seals.

    ``service_account`` is ``NAMESPACE/NAME``: who logs in to ``role``, unless ``vault_token_file`` holds a token. ``audience`` is
    the vault's name for such logins.
    """

    vault_url: str
    vault_ca_file: Path | None
    vault_namespace: str | None
    vault_token_file: Path | None
    mount: str
    key: str
    auth_mount: str
    role: str
    service_account: str
    audience: str
    kubernetes_url: str | None
    kubernetes_ca_file: Path | None
    kubernetes_token_file: Path


@dataclass(frozen=True, slots=True)
class SealedIn:
    """Where a sealed document lies: a file, or a key of a Kubernetes Secret's data."""

    file: Path | None = None
    namespace: str = ""
    name: str = ""
    data_key: str = ""


class Documents(Protocol):
    """See ``assembly.transit``, for errors too."""

    def seal(self, document: bytes, place: SealedIn, *, replace: bool, validate: bool) -> int:
        """The version of the key that sealed it."""

    def unseal(self, place: SealedIn, only: Sequence[str]) -> str:
        """The document, or what of it is named, as JSON."""

    def rewrap(self, places: Sequence[SealedIn], *, retire: bool) -> Mapping[str, Any]:
        """``{"versions": {PLACE: VERSION}, "retired_before"}``."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """What of it each command needs.

    ``probe`` tries external IDs with the broker's own credentials, ``caller`` says whose these are; see ``assembly.probe``.
    ``examine`` finds out what is wrong with this host's broker; see ``assembly.doctor``.
    ``setup`` is what a report says of the configuration, ``key_ages`` reads the keys themselves; see ``assembly.evidence``.
    ``own_keys`` are those that verify the log, an HSM's among them; see ``assembly.audit``.
    ``vault_files`` moves the vault into a file and back, and seals it anew.
    ``resolver`` is what a configuration is loaded with, for the secrets of some sections or all; see ``assembly.resolver``.
    ``documents`` seals, unseals and rewraps documents; see ``assembly.transit``.
    """

    probe: Callable[[Settings], Sequence[Finding]]
    examine: Examine
    caller: Callable[[Settings], str]
    setup: Callable[[Settings], Setup]
    key_ages: Callable[[Settings], Sequence[KeyAge]]
    own_keys: Callable[[Settings], Mapping[str, Any]]
    resolver: Callable[[frozenset[str] | None], Resolver]
    sealed_value: SealedValue
    vault_files: Callable[[], VaultFiles]
    documents: Callable[[TransitAccess], Documents]
