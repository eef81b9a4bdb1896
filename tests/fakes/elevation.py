"""Time boxes in this process: the real rooms, with rows in memory or in a Redis, and broken glass in a folder of its own."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from redis import asyncio as redis

from broker.audit.log import AuditLog
from broker.audit.signer import signer_of
from broker.authz.elevation import Rows
from broker.authz.elevation_store import MemoryStore, RedisStore, Store
from broker.authz.policies import Policies
from broker.core.birth import Births
from broker.core.clock import Clock
from broker.issuing.ask import Entrance
from broker.issuing.boxes import Boxes
from broker.issuing.elevate import Elevation
from broker.issuing.review import Reviews
from broker.keys.envelope import Envelope
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.revocation.epochs import Epochs
from broker.revocation.holds import Holds


@dataclass
class Elevating:
    """As the assembly makes it. ``folder`` holds ``reviews`` and ``records``."""

    folder: Path
    store: Store
    rows: Rows
    reviews: Reviews
    boxes: Boxes
    desk: Elevation


def elevating(
    hierarchy: KeyHierarchy,
    *,
    entrance: Entrance,
    policies: Policies,
    epochs: Epochs,
    audit: AuditLog,
    clock: Clock,
    client: redis.Redis | None = None,
    folder: Path | None = None,
    master: bytes = b"m" * 32,
) -> Elevating:
    """One instance's."""
    folder = folder or Path(tempfile.mkdtemp(prefix="state-", dir=os.environ["HOME"]))
    (folder / "records").mkdir(exist_ok=True)
    rows = Rows(
        envelope=Envelope(keys=[hierarchy.derive(Use.ELEVATION_SEAL)]),
        name_key=hierarchy.derive(Use.ELEVATION_NAME),
    )
    births = Births(clock=clock, boot="this-boot")
    reviews = Reviews(
        directory=folder,
        records=folder / "records",
        rows=rows,
        signer=signer_of(master),
        audit=audit,
        epochs=epochs,
        clock=clock,
        births=births,
    )
    store: Store = MemoryStore(clock=clock) if client is None else RedisStore(client=client, clock=clock)
    boxes = Boxes(policies=policies, store=store, rows=rows, reviews=reviews, epochs=epochs, births=births)
    desk = Elevation(
        entrance=entrance,
        policies=policies,
        boxes=boxes,
        reviews=reviews,
        epochs=epochs,
        holds=Holds(epochs=epochs),
        audit=audit,
        clock=clock,
        births=births,
    )
    return Elevating(folder=folder, store=store, rows=rows, reviews=reviews, boxes=boxes, desk=desk)
