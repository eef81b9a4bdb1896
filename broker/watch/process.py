"""What a process says of itself under the names that every exporter uses, and whether its event loop turns in time.

prometheus_client's own collector says nothing without ``/proc/stat``, which systemd hides from the broker (``ProcSubset=pid``).
"""

from __future__ import annotations

import asyncio
import platform
import resource
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from broker import __version__
from broker.core.clock import Clock
from broker.watch.families import Spread
from broker.watch.metrics import Metrics

_OURS = Path("/proc/self")

# Two wake-ups a second cost nothing; a loop that is held up for longer than this is seen whenever it happens.
_LOOK_EVERY = timedelta(seconds=0.5)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Process(Collector):
    """``process_*``, as Prometheus's client libraries call it."""

    def __init__(self, *, clock: Clock) -> None:
        """``clock`` says when it began: now."""
        self._began = clock.now().timestamp()

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """See ``Collector``."""
        yield CounterMetricFamily(
            "process_cpu_seconds", "Processor time, of the user and of the system", value=time.process_time()
        )
        yield GaugeMetricFamily("process_start_time_seconds", "When the broker started", value=self._began)
        yield GaugeMetricFamily(
            "process_max_fds", "Descriptors that it may open", value=resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        )
        try:
            size, resident, *_ = map(int, (_OURS / "statm").read_text().split())
            number = sum(1 for _ in (_OURS / "fd").iterdir())
        except OSError:
            return  # A sandbox without /proc: what is not known is not said.
        page = resource.getpagesize()
        yield GaugeMetricFamily("process_virtual_memory_bytes", "Addresses in use", value=size * page)
        yield GaugeMetricFamily("process_resident_memory_bytes", "Memory in use", value=resident * page)
        yield GaugeMetricFamily("process_open_fds", "Open descriptors", value=number)


class LoopLag:
    """How late the event loop is: whoever asks for anything waits for as long."""

    def __init__(self, metrics: Metrics) -> None:
        self._spread = Spread(
            "broker_event_loop_lag_seconds",
            "How late the event loop was, looked at twice a second",
            bounds=_LAG_BUCKETS,
        )
        metrics.add(self._spread)

    async def keep_looking(self) -> None:
        """Runs until cancelled."""
        loop, every = asyncio.get_running_loop(), _LOOK_EVERY.total_seconds()
        while True:
            due = loop.time() + every
            await asyncio.sleep(every)
            self._spread.add(max(0.0, loop.time() - due))


def add_process(metrics: Metrics, *, clock: Clock) -> LoopLag:
    """All of it."""
    build = GaugeMetricFamily("broker_build_info", "1; which broker this is", labels=["version", "python_version"])
    build.add_metric([__version__, platform.python_version()], 1.0)
    metrics.add(_Constant(build))
    metrics.add(Process(clock=clock))
    return LoopLag(metrics)


class _Constant(Collector):
    def __init__(self, family: GaugeMetricFamily) -> None:
        self._family = family

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._family
