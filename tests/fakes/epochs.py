"""Revocations of one instance in this process: on the real disk, and through a real Redis where there is one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from redis import asyncio as redis

from broker.core.clock import Clock, SystemClock
from broker.keys.envelope import Envelope
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.revocation.epochs import Epochs
from broker.revocation.file import LedgerFile
from broker.revocation.spread import Spread


def ledger_file(directory: Path, hierarchy: KeyHierarchy) -> LedgerFile:
    """As the assembly makes it."""
    return LedgerFile(directory=directory, envelope=Envelope(keys=[hierarchy.derive(Use.REVOCATION_SEAL)]))


def epochs_without_redis(hierarchy: KeyHierarchy, *, clock: Clock) -> Epochs:
    """With nothing revoked yet, in a folder of its own under the tests' home."""
    directory = Path(tempfile.mkdtemp(prefix="state-", dir=os.environ["HOME"]))
    return Epochs(file=ledger_file(directory, hierarchy), spread=None, clock=clock)


def epochs_beside(
    client: redis.Redis, directory: Path, hierarchy: KeyHierarchy, *, clock: Clock | None = None
) -> Epochs:
    """One instance of a fleet."""
    clock = clock or SystemClock()
    spread = Spread(
        client=client,
        envelope=Envelope(keys=[hierarchy.derive(Use.REVOCATION_SEAL)]),
        name_key=hierarchy.derive(Use.REVOCATION_NAME),
        clock=clock,
    )
    return Epochs(file=ledger_file(directory, hierarchy), spread=spread, clock=clock)
