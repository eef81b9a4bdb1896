"""What was revoked: on this host's disk, and among the instances."""

from __future__ import annotations

from redis import asyncio as redis

from broker.assembly.hierarchy import hierarchy_of
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.keys.envelope import Envelope
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.revocation.epochs import Epochs
from broker.revocation.file import LedgerFile
from broker.revocation.spread import Spread
from broker.watch.metrics import Metrics


def ledger_file(settings: Settings) -> LedgerFile:
    """The one of this host."""
    hierarchy = hierarchy_of(settings.encryption)
    return LedgerFile(directory=settings.state_directory, envelope=_envelope(hierarchy))


def epochs_of(
    settings: Settings, *, hierarchy: KeyHierarchy, client: redis.Redis | None, metrics: Metrics, clock: Clock
) -> Epochs:
    """What every request asks; with a Redis, as one for all instances that share it."""
    spread = None
    if client is not None:
        name_key = hierarchy.derive(Use.REVOCATION_NAME)
        spread = Spread(client=client, envelope=_envelope(hierarchy), name_key=name_key, clock=clock)
        metrics.gauge(
            "broker_revocations_forged_entries",
            "Entries in Redis that none of us wrote, since the start",
            lambda: float(spread.forged),
        )
        metrics.gauge(
            "broker_instances", "Instances that share our Redis and are heard", lambda: float(len(spread.others) + 1)
        )
    return Epochs(file=ledger_file(settings), spread=spread, clock=clock)


def _envelope(hierarchy: KeyHierarchy) -> Envelope:
    return Envelope(keys=hierarchy.derive_all(Use.REVOCATION_SEAL))
