"""What is examined: one configuration, as whom, and what several checks look at, each read once."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.assembly.doctor.kdc import Told, ask
from broker.assembly.doctor.unit import Unit
from broker.assembly.keys import hierarchy_of
from broker.assembly.resolver import VaultResolver
from broker.authn.keytab import AcceptorKeys
from broker.config import yaml_source
from broker.config.load import FILE_MAX_BYTES, load
from broker.config.model import Settings
from broker.config.resolve import COMMAND_PATIENCE_SECONDS
from broker.core.clock import Clock
from broker.core.errors import ConfigurationError
from broker.core.private_file import PermissionProblem, read_private
from broker.keys.hierarchy import KeyHierarchy


class NotSeen(Exception):
    """A check cannot look at its matter; the text says why. No fault of what it would have looked at."""


@dataclass
class Patient:
    """One. What cannot be answered raises ``NotSeen``.

    Attributes:
        config: The configuration's file.
        environ: What the broker's environment is, as far as we can know.
        clock: Of this host.
        unit: What systemd knows of the broker; None where there is no systemd, or no unit.
        may_assume: Whether roles may be assumed, which leaves records here and in CloudTrail.
    """

    config: Path
    environ: Mapping[str, str]
    clock: Clock
    unit: Unit | None
    may_assume: bool = False
    uid: int = field(default_factory=os.geteuid)
    _told: dict[str, Told] = field(default_factory=dict)

    @functools.cached_property
    def loaded(self) -> Settings | ConfigurationError:
        """The configuration, or all that is wrong with it."""
        try:
            resolver = VaultResolver(sections=None, patience=COMMAND_PATIENCE_SECONDS)
            return load(self.config, environ=self.environ, signs=False, resolver=resolver)
        except ConfigurationError as error:
            return error

    @property
    def settings(self) -> Settings:
        """The configuration."""
        if isinstance(self.loaded, ConfigurationError):
            raise NotSeen("the configuration cannot be used")
        return self.loaded

    @property
    def secret_files(self) -> Iterator[Path]:
        """Where secrets of the configuration lie: their content has taken the place of their names in ``settings``."""
        try:
            text = read_private(self.config, limit=FILE_MAX_BYTES).decode()
        except (PermissionProblem, UnicodeDecodeError):
            return
        yield from _files_in(yaml_source.parse(text, name=str(self.config), environ=self.environ).data)
        for name, value in self.environ.items():
            if name.startswith("ZEROTRUST_") and name.endswith("_FILE") and value.startswith("/"):
                yield Path(value)

    @functools.cached_property
    def keys(self) -> AcceptorKeys:
        """Of the keytabs, those that this broker answers with."""
        kerberos, hosts = self.settings.kerberos, self.settings.server.hostnames
        try:
            return AcceptorKeys(
                kerberos.keytabs, realms=frozenset(kerberos.realms), hosts=frozenset(hosts) if hosts else None
            )
        except ConfigurationError as error:
            raise NotSeen("there is no usable keytab") from error

    @functools.cached_property
    def hierarchy(self) -> KeyHierarchy:
        """The keys as the disk has them."""
        try:
            return hierarchy_of(self.settings)
        except ConfigurationError as error:
            raise NotSeen("the broker's keys cannot be opened") from error

    @property
    def realms(self) -> Sequence[str]:
        """Those that we have keys of."""
        return sorted({key.realm for key in self.keys.keys})

    def kdc(self, realm: str) -> Told:
        """What a realm's KDC says, asked once; raises nothing for one that is silent, but says so."""
        if realm not in self._told:
            self._told[realm] = ask(realm, clock=self.clock)
        return self._told[realm]


def _files_in(value: object) -> Iterator[Path]:
    """Each ``KEY_file`` of a tree, however deep."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            if isinstance(below, str) and str(key).endswith("_file") and below.startswith("/"):
                yield Path(below)
            else:
                yield from _files_in(below)
    elif isinstance(value, list):
        for below in value:
            yield from _files_in(below)
