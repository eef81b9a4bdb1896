"""Time boxes: in Redis for all instances that share it, or in this process; broken glass on the disk of this host."""

from __future__ import annotations

from dataclasses import dataclass

from redis import asyncio as redis

from broker.assembly.keys import Keys
from broker.audit.log import AuditLog
from broker.audit.signer import signers_by
from broker.authz.elevation import Rows
from broker.authz.elevation_store import MemoryStore, RedisStore, Resealing
from broker.authz.policies import Policies
from broker.config.model import Settings
from broker.core.birth import Births
from broker.core.clock import Clock, boot_id
from broker.issuing.ask import Entrance
from broker.issuing.boxes import Boxes
from broker.issuing.elevate import Elevation
from broker.issuing.review import Reviews
from broker.keys.hierarchy import Use
from broker.revocation.epochs import Epochs
from broker.revocation.holds import Holds
from broker.watch.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Elevating:
    """The desk, and what it keeps things in."""

    desk: Elevation
    boxes: Boxes
    reviews: Reviews


def elevating(
    settings: Settings,
    *,
    keys: Keys,
    client: redis.Redis | None,
    entrance: Entrance,
    policies: Policies,
    epochs: Epochs,
    holds: Holds,
    audit: AuditLog,
    metrics: Metrics,
    clock: Clock,
) -> Elevating:
    """All of it, and its metrics."""
    hierarchy = keys.hierarchy
    rows = Rows(
        envelope=hierarchy.envelope(Use.ELEVATION_SEAL),
        name_key=hierarchy.derive(Use.ELEVATION_NAME),
    )
    births = Births(clock=clock, boot=boot_id())
    reviews = Reviews(
        directory=settings.state_directory,
        records=settings.audit.directory,
        rows=rows,
        signer=signers_by(hierarchy)[0],
        audit=audit,
        epochs=epochs,
        clock=clock,
        births=births,
    )
    metrics.gauge(
        "broker_reviews_open",
        "Time boxes that were broken open on this host and whose review nobody has closed",
        lambda: float(reviews.unclosed),
    )
    store = MemoryStore(clock=clock) if client is None else RedisStore(client=client, clock=clock)
    keys.replica.register(Resealing(store=store, rows=rows))
    keys.replica.register(reviews)
    boxes = Boxes(policies=policies, store=store, rows=rows, reviews=reviews, epochs=epochs, births=births)
    desk = Elevation(
        entrance=entrance,
        policies=policies,
        boxes=boxes,
        reviews=reviews,
        epochs=epochs,
        holds=holds,
        audit=audit,
        clock=clock,
        births=births,
    )
    return Elevating(desk=desk, boxes=boxes, reviews=reviews)
