"""Whatever has to do with records: the log, who stands behind it, where it goes besides, and who is told what it says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis import asyncio as redis

from broker import __version__
from broker.assembly.audit import audit_log, witnesses_of
from broker.assembly.hsm import signing_key_of
from broker.assembly.neighbours import neighbours_of
from broker.assembly.notification import notifier_of
from broker.assembly.sinks import forwarders_of
from broker.assembly.telemetry import traces_of
from broker.audit.log import AuditLog
from broker.audit.neighbours import Neighbours
from broker.audit.sinks.forward import Forwarder
from broker.audit.witnesses import Witnesses
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.keys.hierarchy import KeyHierarchy
from broker.keys.pkcs11 import HsmKey
from broker.watch.breach import Notifier
from broker.watch.metrics import Metrics
from broker.watch.queue import Queue

if TYPE_CHECKING:
    from broker.watch.traces import Traces

# What a part says of itself: None, or what is wrong.
Probe = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Recording:
    """The log and what hangs on it. ``queue`` holds what the watch has yet to look at."""

    audit: AuditLog
    sinks: list[Forwarder]
    hsm: HsmKey | None
    witnesses: Witnesses | None
    neighbours: Neighbours
    notifier: Notifier | None
    queue: Queue
    traces: Traces | None

    async def open(self, *, configuration: str) -> None:
        """Record what starts, by the digest of its configuration, and read what the last one left to be told."""
        await self.audit.open(version=__version__, configuration=configuration)
        if self.notifier is not None:
            await self.notifier.open()

    async def close(self) -> None:
        """Keep what is yet to be told, state where the log stands, let go."""
        if self.notifier is not None:
            await self.notifier.close()
        await self.audit.close()
        if self.hsm is not None:
            self.hsm.close()
        if self.traces is not None:
            await self.traces.close()

    @property
    def background(self) -> list[Callable[[], Awaitable[None]]]:
        """What goes on beside requests."""
        return [
            self.audit.keep_checkpointing,
            self.neighbours.keep_looking,
            *([self.witnesses.keep_submitting] if self.witnesses else []),
            *([self.notifier.keep_notifying] if self.notifier else []),
        ]

    @property
    def probes(self) -> Mapping[str, Probe]:
        """What /readyz asks."""
        return {
            "audit": self.audit.ping,
            **{_probe_of(sink): sink.ping for sink in self.sinks},
            **({"hsm": self.hsm.ping} if self.hsm else {}),
            **({"witnesses": self.witnesses.ping} if self.witnesses else {}),
            **({"notifications": self.notifier.ping} if self.notifier else {}),
        }

    @property
    def vital(self) -> frozenset[str]:
        """Those without which nothing is handed out."""
        return frozenset({"audit", *(_probe_of(sink) for sink in self.sinks if sink.gate is not None)})


def recording_of(
    settings: Settings, *, hierarchy: KeyHierarchy, client: redis.Redis | None, metrics: Metrics, clock: Clock
) -> Recording:
    """The log of this process with all that the configuration hangs on it."""
    hsm = signing_key_of(settings.encryption.hsm)
    sinks = forwarders_of(settings.audit, clock=clock, metrics=metrics)
    queue = Queue()
    observers = [metrics.observe, queue.observe]
    audit = audit_log(settings, hierarchy=hierarchy, hsm=hsm, clock=clock, observers=observers, sinks=sinks)
    notifier = notifier_of(settings, hierarchy=hierarchy, audit=audit, metrics=metrics, clock=clock)
    if notifier is not None:
        observers.append(notifier.observe)
    traces = traces_of(settings.telemetry, metrics=metrics, clock=clock)
    if traces is not None:
        observers.append(traces.observe)
    return Recording(
        audit=audit,
        sinks=sinks,
        hsm=hsm,
        witnesses=witnesses_of(settings, audit=audit, metrics=metrics, clock=clock),
        neighbours=neighbours_of(settings, hierarchy=hierarchy, audit=audit, client=client, clock=clock),
        notifier=notifier,
        queue=queue,
        traces=traces,
    )


def _probe_of(sink: Forwarder) -> str:
    return f"audit_sink_{sink.name}"
