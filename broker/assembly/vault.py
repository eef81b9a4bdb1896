"""The integrated vault, over the store that the configuration names."""

from __future__ import annotations

from broker.assembly.shared import VAULT_PATIENCE, vault_client
from broker.config.model import Settings
from broker.config.resolve import IntegratedBootstrap
from broker.core.clock import Clock
from broker.core.replicated import Replicas
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.secrets.alarm import VaultAlarm
from broker.secrets.store import Store
from broker.secrets.store_redis import RedisVaultStore
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault


def vault_of(
    settings: Settings | IntegratedBootstrap, *, hierarchy: KeyHierarchy, clock: Clock, alarm: VaultAlarm | None = None
) -> Vault:
    """Nothing is opened or asked yet."""
    hears = {} if alarm is None else {"hear": alarm.hear}
    return Vault(store=store_of(settings), envelope=hierarchy.envelope(Use.VAULT_SEAL), clock=clock, **hears)


def store_of(settings: Settings | IntegratedBootstrap) -> Store:
    """A file of this host, or the Redis that hosts share."""
    if settings.secrets.store == "redis":
        assert settings.redis is not None  # noqa: S101  # the configuration has been judged
        replicas = Replicas(settings.redis.must_be_told, patience=VAULT_PATIENCE)
        return RedisVaultStore(client=vault_client(settings.redis), replicas=replicas)
    return SqliteStore(directory=settings.state_directory)
