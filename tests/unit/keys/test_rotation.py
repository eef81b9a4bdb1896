"""What is due, what seals and what nobody needs: by the clock and by what instances say, and by nothing else."""

from __future__ import annotations

from datetime import timedelta

from broker.keys.hierarchy import KeyVersion, Kind
from broker.keys.keyring import OWN, Ring, Wrapped, wrapped_version
from broker.keys.rotation import Schedule, due, in_force, retired, unneeded

SCHEDULE = Schedule(master=timedelta(days=90), data=timedelta(days=30), session=timedelta(hours=24))
HOUR, DAY = 3_600_000, 86_400_000
KEK = b"k" * 32


def version(number: int, *, kind: Kind = Kind.DATA, at: int, own: bool = False) -> Wrapped:
    key = KeyVersion(bytes([number]) * 32)
    return wrapped_version(key, kind=kind, kek=KEK, made=at, seals_from=OWN if own else at)


def test_each_kind_is_due_when_its_newest_version_is_as_old_as_the_schedule_lets_it_become() -> None:
    ring = Ring.of([version(1, at=0, own=True), version(2, kind=Kind.SESSION, at=0), version(3, kind=Kind.NAME, at=0)])
    assert due(ring, SCHEDULE, now=DAY - 1) == []
    assert due(ring, SCHEDULE, now=DAY) == [Kind.SESSION]
    assert due(ring, SCHEDULE, now=30 * DAY) == [Kind.DATA, Kind.SESSION]
    # One that is about to seal is as good as there.
    assert due(ring.merged([version(4, at=30 * DAY)]), SCHEDULE, now=30 * DAY) == [Kind.SESSION]
    assert due(Ring(), SCHEDULE, now=90 * DAY) == []


def test_a_version_opens_at_once_and_seals_from_its_moment_on() -> None:
    old, new = version(1, at=10), version(2, at=20)
    assert in_force([new, old], now=19, unripe=()) == [old, new]
    assert in_force([new, old], now=20, unripe=()) == [new, old]


def test_a_version_that_others_may_not_know_yet_seals_nothing_unless_there_is_no_other() -> None:
    old, new = version(1, at=10), version(2, at=20)
    assert in_force([new, old], now=30, unripe=[new.id]) == [old, new]
    assert in_force([new], now=30, unripe=[new.id]) == [new]
    assert in_force([new, old], now=5, unripe=()) == [old, new]
    assert in_force([], now=5, unripe=()) == []


def test_a_version_rests_for_hours_after_the_next_one_seals_and_one_of_sessions_for_as_long_as_a_job_pass_may() -> None:
    ring = Ring.of([version(1, at=0, own=True), version(2, at=DAY), version(3, at=2 * DAY)])
    assert retired(ring, Kind.DATA, now=DAY + HOUR) == []
    assert [one.id for one in retired(ring, Kind.DATA, now=2 * DAY)] == [version(1, at=0, own=True).id]
    assert len(retired(ring, Kind.DATA, now=2 * DAY + 2 * HOUR)) == 2
    sessions = Ring.of([version(1, kind=Kind.SESSION, at=1), version(2, kind=Kind.SESSION, at=DAY)])
    assert retired(sessions, Kind.SESSION, now=9 * DAY) == []
    assert len(retired(sessions, Kind.SESSION, now=10 * DAY)) == 1


def test_what_seals_or_is_about_to_is_never_retired() -> None:
    ring = Ring.of([version(1, at=1), version(2, at=99 * DAY)])
    assert retired(ring, Kind.DATA, now=50 * DAY) == []
    assert retired(Ring.of([version(1, at=0, own=True)]), Kind.DATA, now=50 * DAY) == []
    assert retired(Ring(), Kind.DATA, now=50 * DAY) == []


def test_a_version_is_kept_while_one_instance_needs_it_or_has_not_said() -> None:
    old, older = version(1, at=2), version(2, at=1)
    assert unneeded([old, older], {"a": frozenset(), "b": frozenset({older.id})}) == [old]
    assert unneeded([old, older], {"a": frozenset(), "b": None}) == []
    assert unneeded([old], {"a": frozenset()}) == [old]
