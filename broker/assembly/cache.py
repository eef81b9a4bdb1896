"""The cache: of this process alone, or with a Redis of all instances that share it."""

from __future__ import annotations

from collections.abc import Callable

from broker.assembly.shared import redis_store
from broker.audit.log import AuditLog
from broker.cache.entry import EntrySeal
from broker.cache.sealed import CredentialCache
from broker.cache.store import MemoryStore
from broker.cache.tamper import TamperAlarm
from broker.cache.turns import Turns
from broker.config.redis import Redis
from broker.core.birth import Births
from broker.core.clock import Clock, boot_id
from broker.core.principal import Principal
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.watch.metrics import Metrics


def cache_of(
    section: Redis | None,
    *,
    hierarchy: KeyHierarchy,
    epoch: Callable[[Principal], int],
    audit: AuditLog,
    metrics: Metrics,
    clock: Clock,
) -> CredentialCache:
    """The cache, and its metrics. ``epoch`` rises when somebody's credentials are revoked."""
    alarm = TamperAlarm(audit=audit, clock=clock)
    store = redis_store(section) if section else None
    turns = Turns(store=store) if store else None
    near = MemoryStore(clock=clock)
    cache = CredentialCache(
        near=near,
        turns=turns,
        seal=EntrySeal(
            envelope=hierarchy.envelope(Use.CACHE_SEAL), clock=clock, births=Births(clock=clock, boot=boot_id())
        ),
        name_key=hierarchy.derive(Use.CACHE_NAME),
        epoch=epoch,
        alarm=alarm,
    )
    metrics.counter(
        "broker_cache_tampered", "Entries in Redis that were not what was put there", lambda: float(alarm.seen)
    )
    metrics.gauge("broker_cache_entries", "Credentials that this process keeps, sealed", lambda: float(near.number))
    if store and turns:
        metrics.breaker("cache", lambda: store.failure is not None)
        metrics.counter(
            "broker_cache_write_failures", "Credentials that Redis did not keep", lambda: float(store.failed_writes)
        )
        metrics.counter(
            "broker_cache_waits_in_vain",
            "Waits for another instance's credentials that were given up",
            lambda: float(turns.waited_in_vain),
        )
    return cache
