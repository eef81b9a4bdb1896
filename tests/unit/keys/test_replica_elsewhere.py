"""A master key that lies elsewhere wraps random keys, and may be away for as long as somebody is patient."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from broker.core.errors import KeysUnavailable
from broker.keys.hierarchy import DailyEnvelope, Kind, Use
from broker.keys.master.port import MasterUnavailable
from broker.keys.replica import KeysFailed
from tests.fakes.audit import SetClock
from tests.fakes.keys import MASTER, Instance, Moody


def of(folder: Path, clock: SetClock, master: Moody) -> Instance:
    return Instance.of(folder, clock=clock, master=master)


async def test_the_first_start_makes_random_keys_of_each_kind_and_a_restart_finds_them(tmp_path: Path) -> None:
    clock, master = SetClock(), Moody(MASTER)
    first = await (await of(tmp_path / "a", clock, master).open()).look(2)
    again = await of(tmp_path / "a", clock, master).open()
    other = await of(tmp_path / "b", clock, Moody(MASTER)).open()
    for kind in Kind:
        assert again.replica.hierarchy.sealing(kind) == first.replica.hierarchy.sealing(kind)
        assert other.replica.hierarchy.sealing(kind) != first.replica.hierarchy.sealing(kind)
    assert len({first.replica.hierarchy.sealing(kind) for kind in Kind}) == len(Kind)


async def test_what_goes_on_asks_the_master_nothing_but_whether_it_is_there(tmp_path: Path) -> None:
    clock, master = SetClock(), Moody(MASTER)
    instance = await (await of(tmp_path, clock, master).open()).look(2)
    asked = master.asked
    await instance.duties.rotate(Kind.DATA)
    await instance.look(5)
    assert master.asked == asked


async def test_a_dead_master_is_borne_for_the_stated_time_then_nothing_is_given_and_at_once_again_when_it_answers(
    tmp_path: Path,
) -> None:
    clock, master = SetClock(), Moody(MASTER)
    instance = await (await of(tmp_path, clock, master).open()).look()
    hierarchy = instance.replica.hierarchy
    envelope = hierarchy.envelope(Use.CACHE_SEAL)
    sessions = DailyEnvelope(hierarchy=hierarchy, use=Use.SESSION_SEAL, clock=clock)
    sealed = envelope.seal(b"x", context=b"c")
    master.away = True
    clock.time += timedelta(hours=23, minutes=59)
    await instance.look()
    assert envelope.open(sealed, context=b"c") == b"x"
    assert "it is away" in (await instance.replica.ping() or "")
    assert not instance.replica.is_withheld
    clock.time += timedelta(minutes=2)
    await instance.look()
    assert instance.replica.is_withheld
    with pytest.raises(KeysUnavailable):
        envelope.open(sealed, context=b"c")
    with pytest.raises(KeysUnavailable):
        sessions.now()
    master.away = False
    await instance.look()
    assert envelope.open(sealed, context=b"c") == b"x"
    sessions.now()
    assert await instance.replica.ping() is None


async def test_without_its_master_a_broker_does_not_start_and_makes_no_keys(tmp_path: Path) -> None:
    clock, master = SetClock(), Moody(MASTER)
    await (await of(tmp_path, clock, master).open()).look()
    before = (tmp_path / "keyring").read_bytes()
    master.away = True
    with pytest.raises(MasterUnavailable):
        await of(tmp_path, clock, master).open()
    with pytest.raises(MasterUnavailable):
        await of(tmp_path / "new", clock, master).open()
    assert (tmp_path / "keyring").read_bytes() == before
    assert not (tmp_path / "new" / "keyring").exists()


async def test_a_master_that_rotates_where_it_lies_is_told_to_when_it_is_due_and_everything_is_wrapped_anew(
    tmp_path: Path,
) -> None:
    clock, master = SetClock(), Moody(MASTER)
    instance = await (await of(tmp_path, clock, master).open()).look(2)
    clock.time += timedelta(days=90)
    await instance.look(2)
    clock.time += timedelta(minutes=2)
    await instance.look(3)
    told = [(what, details.get("kind")) for what, details in instance.told]
    assert ("key_rotated", "master") in told
    assert ("key_destroyed", "kek") in told
    sealing = instance.replica.hierarchy.sealing(Kind.NAME)
    # The old version of the master opens nothing of it any more.
    with pytest.raises(Exception, match="sealed with another key"):
        await of(tmp_path, clock, Moody(MASTER)).open()
    new = await of(tmp_path, clock, Moody(bytes([1]) * 32)).open()
    assert new.replica.hierarchy.sealing(Kind.NAME) == sealing


async def test_a_rotation_that_the_master_does_not_answer_is_done_when_it_does(tmp_path: Path) -> None:
    clock, master = SetClock(), Moody(MASTER)
    instance = await (await of(tmp_path, clock, master).open()).look(2)
    await master.rotate()
    clock.time += timedelta(minutes=2)
    master.away = True
    await instance.look(2)
    assert instance.told == []
    master.away = False
    clock.time += timedelta(minutes=2)
    await instance.look(3)
    assert "key_rewrapped" in [what for what, _ in instance.told]


async def test_a_master_in_a_file_is_not_told_to_rotate(tmp_path: Path) -> None:
    instance = await (await Instance.of(tmp_path, clock=SetClock()).open()).look()
    with pytest.raises(KeysFailed, match="where it lies"):
        await instance.duties.rotate_master()
