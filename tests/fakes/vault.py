"""Vaults over real files, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from broker.core.secret import Secret
from broker.keys.envelope import Envelope
from broker.secrets.metadata import Actor
from broker.secrets.provider import Version
from broker.secrets.store import Store
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault
from tests.fakes.cache import MovedClock

KEY, NEWER_KEY = b"k" * 32, b"n" * 32
ALICE = Actor("alice@EXAMPLE.COM", "tests")
START = MovedClock().now()


def vault_over(store: Store, *, keys: tuple[bytes, ...] = (KEY,), clock: MovedClock | None = None) -> Vault:
    return Vault(store=store, envelope=Envelope(keys=keys), clock=clock or MovedClock())


def vault_in(directory: Path, *, keys: tuple[bytes, ...] = (KEY,), clock: MovedClock | None = None) -> Vault:
    return vault_over(SqliteStore(directory=directory), keys=keys, clock=clock)


def fields(**texts: str) -> dict[str, Secret]:
    return {name: Secret(text) for name, text in texts.items()}


def shown(version: Version) -> Mapping[str, str]:
    return {name: value.reveal() for name, value in version.fields.items()}
