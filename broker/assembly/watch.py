"""The watch: what it knows, shared by instances where there is a Redis, and what it may do."""

from __future__ import annotations

from redis import asyncio as redis

from broker.assembly.keys import Keys
from broker.audit.log import AuditLog
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, Use
from broker.revocation.holds import Holds, Response
from broker.watch.anomaly.finding import Kind
from broker.watch.detectors import Detectors
from broker.watch.metrics import Metrics
from broker.watch.places import Places
from broker.watch.queue import Queue
from broker.watch.shared import Shared
from broker.watch.states import LIFE, InProcess, States
from broker.watch.states_file import StatesFile
from broker.watch.watch import Watch


def watch_of(
    settings: Settings,
    *,
    queue: Queue,
    places: Places,
    keys: Keys,
    client: redis.Redis | None,
    holds: Holds,
    audit: AuditLog,
    metrics: Metrics,
    clock: Clock,
) -> Watch:
    """For one instance."""
    hierarchy = keys.hierarchy
    days = max(LIFE.values()).days
    envelope = DailyEnvelope(hierarchy=hierarchy, use=Use.WATCH_SEAL, clock=clock, days=days)
    states: States
    if client is None:
        states = own = InProcess()
        kept = StatesFile(directory=settings.state_directory, states=own, envelope=envelope, clock=clock)
        keys.replica.register(kept)
    else:
        states = shared = _shared(client, envelope, hierarchy, metrics, clock)
        kept = None
        keys.replica.register(shared)
    metrics.counter(
        "broker_watch_dropped_events",
        "Events that the watch did not look at, because too many different ones came at once",
        lambda: float(queue.dropped),
    )
    return Watch(
        queue=queue,
        detectors=Detectors(states=states),
        places=places,
        respond={Kind(name): Response(answer) for name, answer in settings.watch.respond},
        holds=holds,
        kept=kept,
        audit=audit,
    )


def _shared(
    client: redis.Redis, envelope: DailyEnvelope, hierarchy: KeyHierarchy, metrics: Metrics, clock: Clock
) -> Shared:
    shared = Shared(client=client, envelope=envelope, name_key=hierarchy.derive(Use.WATCH_NAME), clock=clock)
    metrics.counter(
        "broker_watch_forged_states",
        "States of the watch in Redis that none of us wrote",
        lambda: float(shared.forged),
    )
    return shared
