"""One host's keyring: kept on the disk, rotated when due, believed only as it was written."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from broker.keys.envelope import CannotOpen
from broker.keys.hierarchy import KeyHierarchy, KeyVersion, Kind, Use
from broker.keys.replica import KeysFailed, Pace
from broker.keys.ringfile import RingDamaged
from tests.fakes.audit import SetClock
from tests.fakes.keys import MASTER, Instance
from tests.fakes.until import until

OWN = KeyVersion(MASTER).id
NEXT_MASTER = b"n" * 32


@dataclass
class Store:
    """Holds one blob, as stores do."""

    hierarchy: KeyHierarchy
    blob: bytes = b""
    name: str = "store"
    is_stuck: bool = False
    is_gone: bool = False
    asked: int = field(default=0)

    def __post_init__(self) -> None:
        self.blob = self.blob or self.hierarchy.envelope(Use.CACHE_SEAL).seal(b"kept", context=b"c")

    async def reseal(self) -> frozenset[str]:
        self.asked += 1
        if self.is_gone:
            raise ConnectionError("no answer")
        envelope = self.hierarchy.envelope(Use.CACHE_SEAL)
        if not self.is_stuck and not envelope.is_newest(self.blob):
            self.blob = envelope.seal(envelope.open(self.blob, context=b"c"), context=b"c")
        return frozenset(filter(None, [envelope.version_of(self.blob)]))


async def resealed(instance: Instance, store: Store) -> None:
    instance.replica.store_needs[store.name] = await store.reseal()


async def test_before_anything_is_rotated_the_master_key_seals_as_it_always_did(tmp_path: Path) -> None:
    before = KeyHierarchy(master=MASTER).envelope(Use.REVOCATION_SEAL).seal(b"x", context=b"c")
    instance = await Instance.of(tmp_path, clock=SetClock()).open()
    await instance.look(2)
    after = instance.replica.hierarchy.envelope(Use.REVOCATION_SEAL)
    assert after.open(before, context=b"c") == b"x"
    assert after.is_newest(before)


async def test_while_nothing_changes_nothing_is_written_and_nothing_is_opened_again(tmp_path: Path) -> None:
    instance = await (await Instance.of(tmp_path, clock=SetClock()).open()).look(3)
    status, ring, turn = (tmp_path / "keyring").stat(), instance.replica.opened.ring, instance.replica.hierarchy.turn
    await instance.look(3)
    assert (tmp_path / "keyring").stat() == status
    assert instance.replica.opened.ring is ring
    assert instance.replica.hierarchy.turn == turn


async def test_a_version_that_is_due_comes_by_itself_seals_and_everything_before_opens(tmp_path: Path) -> None:
    clock = SetClock()
    instance = await (await Instance.of(tmp_path, clock=clock).open()).look(2)
    sealed = instance.replica.hierarchy.envelope(Use.CACHE_SEAL).seal(b"x", context=b"c")
    clock.time += timedelta(days=30)
    await instance.look(2)
    envelope = instance.replica.hierarchy.envelope(Use.CACHE_SEAL)
    assert not envelope.is_newest(sealed)
    assert envelope.open(sealed, context=b"c") == b"x"
    assert {details["kind"] for what, details in instance.told if what == "key_rotated"} == {"data", "session"}
    # Names and signatures are what they were.
    plain = KeyHierarchy(master=MASTER)
    for use in Use:
        if use.kind in (Kind.NAME, Kind.SIGNING):
            assert instance.replica.hierarchy.derive(use) == plain.derive(use)


async def test_what_was_rotated_is_there_after_a_restart_and_no_key_lies_on_the_disk(tmp_path: Path) -> None:
    clock = SetClock()
    instance = await (await Instance.of(tmp_path, clock=clock).open()).look()
    version = await instance.duties.rotate(Kind.DATA)
    sealed = instance.replica.hierarchy.envelope(Use.CACHE_SEAL).seal(b"x", context=b"c")
    again = await Instance.of(tmp_path, clock=clock).open()
    assert again.replica.hierarchy.sealing(Kind.DATA) == version
    assert again.replica.hierarchy.envelope(Use.CACHE_SEAL).open(sealed, context=b"c") == b"x"
    on_disk = (tmp_path / "keyring").read_bytes()
    for key in again.replica.opened._keys.values():
        assert key.key not in on_disk
        assert key.key.hex().encode() not in on_disk
    assert (tmp_path / "keyring").stat().st_mode & 0o777 == 0o600


async def test_an_operator_who_rotates_before_the_first_round_of_duties_is_obeyed(tmp_path: Path) -> None:
    instance = await Instance.of(tmp_path, clock=SetClock()).open()
    version = await instance.duties.rotate(Kind.DATA)
    again = await Instance.of(tmp_path, clock=SetClock()).open()
    assert again.replica.hierarchy.sealing(Kind.DATA) == version


async def test_a_new_version_seals_nothing_before_everybody_had_time_to_hear_of_it(tmp_path: Path) -> None:
    clock = SetClock()
    pace = Pace(ripe=timedelta(seconds=3), grace=timedelta(seconds=6))
    instance = await (await Instance.of(tmp_path, clock=clock, pace=pace).open()).look()
    version = await instance.duties.rotate(Kind.DATA)
    await instance.look()
    assert instance.replica.hierarchy.sealing(Kind.DATA) == OWN
    # Longer than an instance takes to hear of it, by a clock that is a little ahead.
    clock.time += timedelta(seconds=4)
    await instance.look()
    assert instance.replica.hierarchy.sealing(Kind.DATA) == OWN
    clock.time += timedelta(seconds=2)
    await instance.look()
    assert instance.replica.hierarchy.sealing(Kind.DATA) == version


@pytest.mark.parametrize("place", [5, 40, 200, -30, -1])
async def test_one_flipped_bit_in_the_file_is_named_and_no_new_keys_are_made_over_it(
    tmp_path: Path, place: int
) -> None:
    instance = await (await Instance.of(tmp_path, clock=SetClock()).open()).look()
    await instance.duties.rotate(Kind.DATA)
    file = tmp_path / "keyring"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(RingDamaged, match="keyring was altered or cut short"):
        await Instance.of(tmp_path, clock=SetClock()).open()
    assert file.read_bytes() == content


async def test_who_runs_while_the_file_is_damaged_goes_on_and_writes_it_anew(tmp_path: Path) -> None:
    instance = await (await Instance.of(tmp_path, clock=SetClock()).open()).look()
    version = await instance.duties.rotate(Kind.DATA)
    (tmp_path / "keyring").write_bytes(b"garbage")
    await instance.look(2)
    assert instance.replica.hierarchy.sealing(Kind.DATA) == version
    assert await instance.replica.ping() is None
    assert (tmp_path / "keyring.damaged").read_bytes() == b"garbage"
    again = await Instance.of(tmp_path, clock=instance.clock).open()
    assert again.replica.hierarchy.sealing(Kind.DATA) == version


async def test_a_file_that_was_taken_away_is_written_again(tmp_path: Path) -> None:
    instance = await (await Instance.of(tmp_path, clock=SetClock()).open()).look()
    version = await instance.duties.rotate(Kind.DATA)
    (tmp_path / "keyring").unlink()
    await instance.look()
    assert (await Instance.of(tmp_path, clock=instance.clock).open()).replica.hierarchy.sealing(Kind.DATA) == version


async def test_an_older_copy_of_the_file_takes_nothing_from_who_runs(tmp_path: Path) -> None:
    instance = await (await Instance.of(tmp_path, clock=SetClock()).open()).look()
    backup = (tmp_path / "keyring").read_bytes()
    version = await instance.duties.rotate(Kind.DATA)
    (tmp_path / "keyring").write_bytes(backup)
    await instance.look()
    assert (await Instance.of(tmp_path, clock=instance.clock).open()).replica.hierarchy.sealing(Kind.DATA) == version


async def test_two_instances_of_a_host_that_rotate_at_once_keep_both_versions(tmp_path: Path) -> None:
    clock = SetClock()
    one = await (await Instance.of(tmp_path, clock=clock).open()).look()
    two = await (await Instance.of(tmp_path, clock=clock).open()).look()
    made = {await one.duties.rotate(Kind.DATA), await two.duties.rotate(Kind.DATA)}
    await one.look()
    for instance in (one, two):
        held = {version.id for version in instance.replica.opened.ring.versions(Kind.DATA)}
        assert held == made | {OWN}
    assert one.replica.hierarchy.sealing(Kind.DATA) == two.replica.hierarchy.sealing(Kind.DATA)


async def test_what_is_due_is_made_once_by_all_instances_of_a_host(tmp_path: Path) -> None:
    clock = SetClock()
    one = await (await Instance.of(tmp_path, clock=clock).open()).look()
    two = await (await Instance.of(tmp_path, clock=clock).open()).look()
    clock.time += timedelta(hours=24)
    # The second has not looked since.
    await one.duties.do()
    await two.duties.do()
    await one.look()
    assert len(one.replica.opened.ring.versions(Kind.SESSION)) == 2


async def test_a_store_that_failed_is_asked_again_at_the_next_look_and_the_others_are_left_alone(
    tmp_path: Path,
) -> None:
    pace = Pace(look=timedelta(milliseconds=10), reseal=timedelta(hours=1))
    instance = await Instance.of(tmp_path, clock=SetClock(), pace=pace).open()
    lost = Store(instance.replica.hierarchy, name="lost", is_gone=True)
    well = Store(instance.replica.hierarchy, name="well")
    instance.replica.register(lost)
    instance.replica.register(well)
    task = asyncio.create_task(instance.replica.keep_resealing())
    await until(lambda: "store lost" in instance.replica.faults)
    lost.is_gone = False
    await until(lambda: not instance.replica.faults)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert well.asked == 1


async def test_a_retired_version_is_destroyed_once_no_store_needs_it(tmp_path: Path) -> None:
    clock = SetClock()
    instance = await Instance.of(tmp_path, clock=clock).open()
    store = Store(instance.replica.hierarchy, is_stuck=True)
    instance.replica.register(store)
    await instance.look()
    await instance.duties.rotate(Kind.DATA)
    clock.time += timedelta(hours=3)
    # Nobody knows yet what the store needs; then it needs the old one.
    await instance.look(2)
    await resealed(instance, store)
    await instance.look(2)
    assert len(instance.replica.opened.ring.versions(Kind.DATA)) == 2
    store.is_stuck = False
    await resealed(instance, store)
    await instance.look(2)
    assert [version.id for version in instance.replica.opened.ring.versions(Kind.DATA)] == [
        instance.replica.hierarchy.sealing(Kind.DATA)
    ]
    assert ("key_destroyed", {"kind": "data", "version": OWN}) in instance.told
    envelope = instance.replica.hierarchy.envelope(Use.CACHE_SEAL)
    assert envelope.open(store.blob, context=b"c") == b"kept"
    with pytest.raises(CannotOpen, match="unknown_key"):
        envelope.open(KeyHierarchy(master=MASTER).envelope(Use.CACHE_SEAL).seal(b"x", context=b"c"), context=b"c")
    # A destroyed version of the data keys is still the name key.
    assert instance.replica.hierarchy.derive(Use.CACHE_NAME) == KeyHierarchy(master=MASTER).derive(Use.CACHE_NAME)


async def test_nothing_is_destroyed_while_another_instance_of_the_host_runs_that_nobody_can_ask(tmp_path: Path) -> None:
    clock = SetClock()
    one = await (await Instance.of(tmp_path, clock=clock).open()).look()
    two = await (await Instance.of(tmp_path, clock=clock).open()).look()
    await one.duties.rotate(Kind.DATA)
    clock.time += timedelta(hours=3)
    await one.look(3)
    assert len(one.replica.opened.ring.versions(Kind.DATA)) == 2
    await two.replica.close()
    await one.look(3)
    assert len(one.replica.opened.ring.versions(Kind.DATA)) == 1


async def test_after_a_change_of_the_master_key_everything_is_wrapped_by_the_new_one_alone(tmp_path: Path) -> None:
    clock = SetClock()
    old = await (await Instance.of(tmp_path, clock=clock).open()).look()
    version = await old.duties.rotate(Kind.DATA)
    await old.replica.close()
    new = await Instance.of(tmp_path, clock=clock, masters=(NEXT_MASTER, MASTER)).open()
    assert new.replica.hierarchy.sealing(Kind.DATA) == version
    clock.time += timedelta(minutes=2)
    await new.look(4)
    assert [what for what, _ in new.told] == ["key_rewrapped", "key_destroyed"]
    await new.replica.close()
    # The data keys stay; the old master key opens none of them any more.
    alone = await Instance.of(tmp_path, clock=clock, masters=(NEXT_MASTER,)).open()
    assert alone.replica.hierarchy.sealing(Kind.DATA) == version
    with pytest.raises(RingDamaged, match="sealed with another key"):
        await Instance.of(tmp_path, clock=clock, masters=(MASTER,)).open()


async def test_a_disk_that_takes_nothing_stops_rotation_and_nothing_else(tmp_path: Path) -> None:
    clock, folder = SetClock(), tmp_path / "state"
    instance = await (await Instance.of(folder, clock=clock).open()).look()
    sealed = instance.replica.hierarchy.envelope(Use.CACHE_SEAL).seal(b"x", context=b"c")
    folder.rename(tmp_path / "away")
    folder.write_text("a file in the way")
    await instance.look()
    with pytest.raises(KeysFailed, match=rf"^{folder}\S*: [A-Z][a-z ]+$"):
        await instance.duties.rotate(Kind.DATA)
    clock.time += timedelta(days=31)
    await instance.look(2)
    assert instance.replica.hierarchy.sealing(Kind.DATA) == OWN
    assert "disk" in (await instance.replica.ping() or "")
    assert instance.replica.hierarchy.envelope(Use.CACHE_SEAL).open(sealed, context=b"c") == b"x"
    folder.unlink()
    (tmp_path / "away").rename(folder)
    await instance.look(2)
    assert instance.replica.hierarchy.sealing(Kind.DATA) != OWN
