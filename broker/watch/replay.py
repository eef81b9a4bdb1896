"""The detectors over recorded files: what they would have said, when and why. Nothing is held, nothing is recorded.

Of several files the records are taken in the order of their times, as one fleet that shares its states has seen them.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from broker.audit.reading import lines, record_files
from broker.core.clock import rfc3339
from broker.watch.anomaly.sighting import Sighting, of_record
from broker.watch.detectors import Alert, Detectors
from broker.watch.places import Places


class Count(NamedTuple):
    """What was read: records that are one, and lines that are none."""

    records: int = 0
    broken: int = 0


class Replay:
    """Of some files or directories. ``count`` is complete at the end."""

    def __init__(self, roots: Sequence[Path], *, detectors: Detectors, places: Places) -> None:
        self._files = [file for root in roots for file in (record_files(root) if root.is_dir() else [root])]
        self._detectors = detectors
        self._places = places
        self.count = Count()

    async def alerts(self) -> AsyncIterator[Alert]:
        """In the order of time. Raises OSError where a file cannot be read."""
        for sighting in heapq.merge(*map(self._sightings, self._files), key=lambda each: each.at):
            for found in await self._detectors.look([sighting]):
                yield found

    def _sightings(self, file: Path) -> Iterator[Sighting]:
        for line in lines(file):
            try:
                sighting = of_record(orjson.loads(line), place_of=self._places.of)
            except (ValueError, TypeError, KeyError):
                # Whether the log is whole is `audit verify`'s to say.
                self.count = self.count._replace(broken=self.count.broken + 1)
                continue
            self.count = self.count._replace(records=self.count.records + 1)
            if sighting is not None:
                yield sighting


def members(found: Alert) -> dict[str, Any]:
    """For JSON."""
    finding, sighting = found.finding, found.sighting
    return {
        "at": rfc3339(datetime.fromtimestamp(sighting.at, UTC)),
        "kind": finding.kind.value,
        "severity": finding.severity.value,
        "user": found.about,
        "role": finding.role,
        "source_ip": sighting.address,
        "request_id": sighting.request_id,
        "why": list(finding.why),
    }
