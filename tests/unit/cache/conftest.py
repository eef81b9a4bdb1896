"""A clock that a test moves, and a store that a test owns completely."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest


class MovedClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
        self.booted = 1000.0

    def now(self) -> datetime:
        return self.moment

    def boottime(self) -> float:
        return self.booted

    def move(self, by: timedelta) -> None:
        self.moment += by
        self.booted += by.total_seconds()


class HostileStore:
    """A dictionary that the test may write to as whoever controls Redis can."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.ttls: dict[str, timedelta] = {}

    async def get(self, name: str) -> bytes | None:
        return self.entries.get(name)

    async def put(self, name: str, blob: bytes, ttl: timedelta) -> None:
        self.entries[name] = blob
        self.ttls[name] = ttl

    async def ping(self) -> str | None:
        return None


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def store() -> HostileStore:
    return HostileStore()
