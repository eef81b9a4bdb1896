"""What somebody used lately: noted beside the way, once in a while, and again where the first note could not be kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from broker.audit.event import Event, Kind
from broker.authn.roll import Roll
from broker.authn.roll_store import MemoryStore, Unanswered
from broker.core.principal import Principal
from broker.issuing.uses import Uses
from broker.keys.hierarchy import KeyHierarchy, Use

ALICE = Principal(("alice",), "EXAMPLE.COM")


class StoppedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 31, 12, 34, tzinfo=UTC)

    def boottime(self) -> float:
        return 1000.0


class AwayAtFirst(MemoryStore):
    def __init__(self) -> None:
        super().__init__(clock=StoppedClock())
        self.asked = 0

    async def note(self, owner: str, name: str, row: bytes, *, until: datetime, most: int) -> None:
        self.asked += 1
        if self.asked == 1:
            raise Unanswered
        await super().note(owner, name, row, until=until, most=most)

    async def of(self, owner: str, *, most: int) -> Mapping[str, bytes]:
        return await super().of(owner, most=most)


def had(uses: Uses) -> None:
    event = Event(
        action="get_credentials",
        resource="developer",
        kind=Kind.ISSUED,
        success=True,
        reason=None,
        role="developer",
        details={"via": "ticket"},
    )
    uses.had(ALICE, event)


async def test_a_use_that_could_not_be_noted_is_noted_by_the_next_one_and_no_more_after_that() -> None:
    store, clock = AwayAtFirst(), StoppedClock()
    keys = KeyHierarchy(master=b"m" * 32)
    roll = Roll(store=store, envelope=keys.envelope(Use.ROLL_SEAL), name_key=keys.derive(Use.ROLL_NAME), clock=clock)
    uses = Uses(roll=roll, clock=clock)
    had(uses)
    await uses.write()
    assert (await uses.of(ALICE))[0] == []
    for _ in range(3):
        had(uses)
        await uses.write()
    assert [use.role for use in (await uses.of(ALICE))[0]] == ["developer"]
    assert store.asked == 2
