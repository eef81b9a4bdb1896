"""A sink in memory that does what a test tells it: takes, refuses certain records, is down, or hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.audit.log import AuditLog, Observer
from broker.audit.signer import signer_of
from broker.audit.sinks.forward import Forwarder
from broker.audit.sinks.parcel import Parcel, Sink, SinkDown, SinkRefused
from tests.fakes.audit import MASTER, SetClock
from tests.fakes.until import until


@dataclass
class ScriptedSink:
    """``got`` are the numbers of all records it took, in the order they came."""

    settles_after: float = 0.0
    got: list[int] = field(default_factory=list)
    parcels: list[Parcel] = field(default_factory=list)
    tries: int = 0
    down: str | None = None
    fails_once: bool = False
    refuses: set[int] = field(default_factory=set)
    most: int = 1000
    lets_go: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.lets_go.set()

    async def send(self, parcels: Sequence[Parcel]) -> None:
        self.tries += 1
        await self.lets_go.wait()
        if self.down is not None or self.fails_once:
            self.fails_once = False
            raise SinkDown(self.down or "closed")
        if len(parcels) > self.most or any(parcel.seq in self.refuses for parcel in parcels):
            raise SinkRefused("HTTP 400")
        self.got += [parcel.seq for parcel in parcels]
        self.parcels += parcels

    async def close(self) -> None:
        if self.down is not None:
            raise SinkDown(self.down)


def forwarder_to(sink: Sink, directory: Path, *, required: bool = False) -> Forwarder:
    return Forwarder(
        name="siem",
        sink=sink,
        form=lambda _, line: line,
        required=required,
        directory=directory,
        chance=lambda: 0.0,
    )


def log_to(directory: Path, *sinks: Forwarder, observers: Sequence[Observer] = ()) -> AuditLog:
    return AuditLog(directory=directory, signer=signer_of(MASTER), clock=SetClock(), observers=observers, sinks=sinks)


async def caught_up(forwarder: Forwarder) -> None:
    """Until nothing that is durable now is unconfirmed."""
    await until(lambda: not forwarder.behind and forwarder._durable is not None)
