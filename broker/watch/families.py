"""Counts and spreads that cost a fifth of a microsecond each, and become Prometheus's families when somebody asks.

prometheus_client's own lock for each of their children, which takes ten times as long; ours are added to in the event loop alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Counts(Collector):
    """How often, by the values of its labels. Prometheus sees it as ``NAME_total``."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self._name, self._text, self._labels = name, text, labels
        # Without labels it is there from the beginning: a rate needs a nought to rise from.
        self._counts: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def add(self, *values: str, by: float = 1.0) -> None:
        """So many more; ``values`` are those of the labels, in their order."""
        self._counts[values] = self._counts.get(values, 0.0) + by

    def collect(self) -> Iterator[CounterMetricFamily]:
        """See ``Collector``."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric(values, count)
        yield family


class Spread(Collector):
    """How much each time: a histogram, by the values of its labels."""

    def __init__(self, name: str, text: str, *labels: str, bounds: Sequence[float]) -> None:
        """``bounds`` are the upper ones of its buckets, rising; what is more counts all the same."""
        self._name, self._text, self._labels, self._bounds = name, text, labels, tuple(bounds)
        self._empty = [0] * (len(self._bounds) + 1)
        self._buckets: dict[tuple[str, ...], list[int]] = {} if labels else {(): self._empty[:]}
        self._sums: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def add(self, value: float, *values: str) -> None:
        """One more; ``values`` are those of the labels, in their order."""
        buckets = self._buckets.get(values)
        if buckets is None:
            buckets, self._sums[values] = self._buckets.setdefault(values, self._empty[:]), 0.0
        buckets[bisect_left(self._bounds, value)] += 1
        self._sums[values] += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """See ``Collector``."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for values, buckets in self._buckets.items():
            counts = zip(bounds, map(float, accumulate(buckets)), strict=True)
            family.add_metric(values, list(counts), self._sums[values])
        yield family


class Read(Collector):
    """What somebody else knows: one value, or one for each of a few names under one label."""

    def __init__(
        self,
        family: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        text: str,
        label: str | None,
        values: Callable[[], Mapping[str, float]],
    ) -> None:
        """``values`` are asked for each time; without a ``label`` there is one, under the empty name."""
        self._family, self._name, self._text, self._label, self._values = family, name, text, label, values

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """See ``Collector``."""
        found = self._family(self._name, self._text, labels=[self._label] if self._label else [])
        for name, value in self._values().items():
            found.add_metric([name] if self._label else [], value)
        yield found
