"""Instances that write down each other's checkpoints: what is found when one of them loses its log, whole or in part."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from broker.audit.log import AuditLog
from broker.audit.neighbours import Neighbours
from broker.audit.signer import signer_of
from broker.audit.verify import verify
from broker.keys.signing import KeySet
from tests.fakes.audit import MASTER, Directory, SetClock, an_event


class Hash:
    """What Redis is to a courier, held by somebody who may do with it what they like."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}

    async def exchange(self, instance: str, note: str) -> Mapping[str, str]:
        self.notes[instance] = note
        return {name: note for name, note in self.notes.items() if name != instance}

    async def forget(self, instance: str) -> None:
        del self.notes[instance]


class Instance:
    """A log and its look at the others."""

    def __init__(self, directory: Path, *, clock: SetClock, courier: Hash | None = None) -> None:
        signer = signer_of(MASTER)
        self.log = AuditLog(directory=directory, signer=signer, clock=clock, observers=[])
        keys = KeySet(jwks={"keys": [signer.jwk()]})
        self.neighbours = Neighbours(audit=self.log, directory=directory, keys=keys, courier=courier, clock=clock)
        self.directory = directory

    async def works(self, number: int = 1) -> None:
        for each in range(number):
            await self.log.record(an_event(each))

    async def minute(self) -> None:
        await self.log.checkpoint()
        await self.neighbours.look()

    def path(self, kind: str = "audit") -> Path:
        suffix = "jsonl" if kind == "audit" else "notes"
        return self.directory / f"{kind}-{self.log.instance}.{suffix}"

    def records(self, event: str) -> list[dict[str, object]]:
        found = [json.loads(line) for line in self.path().read_bytes().splitlines()]
        return [record for record in found if record["event"] == event]


Make = Callable[..., Awaitable[Instance]]


@pytest.fixture
async def make(directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    made: list[Instance] = []

    async def instance(host: str = "host", *, courier: Hash | None = None, clock: SetClock | None = None) -> Instance:
        monkeypatch.setattr("socket.gethostname", lambda: host)
        path = directory.path if courier is None else tmp_path / host
        made.append(Instance(path, clock=clock or SetClock(), courier=courier))
        await made[-1].log.open()
        return made[-1]

    yield instance
    for each in made:
        await each.log.close()


async def test_what_a_neighbour_states_is_recorded_once_and_verifies(directory: Directory, make: Make) -> None:
    one, two = await make(), await make()
    await one.works(3)
    for _ in range(3):
        await one.minute()
        await two.minute()
    said = [record["neighbour"] for record in two.records("neighbour_checkpoint")]
    assert [(each["instance"], each["size"], each["via"]) for each in said] == [("host-1", 4, "directory")]  # type: ignore[index]
    assert directory.verify().findings == []


async def test_two_idle_instances_do_not_answer_each_other_for_ever(make: Make) -> None:
    one, two = await make(), await make()
    for _ in range(10):
        await one.minute()
        await two.minute()
    sizes = [len(each.path().read_bytes().splitlines()) for each in (one, two)]
    for _ in range(10):
        await one.minute()
        await two.minute()
    assert [len(each.path().read_bytes().splitlines()) for each in (one, two)] == sizes


async def test_an_instance_that_is_busy_is_recorded_by_one_that_is_idle_whose_own_log_stays_stated(make: Make) -> None:
    one, two = await make(), await make()
    for _ in range(5):
        await one.works()
        await one.minute()
        await two.minute()
    await two.log.checkpoint()
    assert len(two.records("neighbour_checkpoint")) == 5
    assert one.records("neighbour_checkpoint") != []
    size = int(two.path("checkpoints").read_text().split("zerotrust.audit/host-2\n")[-1].split("\n")[0])
    assert size == len(two.path().read_bytes().splitlines())


async def test_the_whole_log_of_an_instance_is_missed_by_its_neighbour(directory: Directory, make: Make) -> None:
    one, two = await make(), await make()
    await one.works(3)
    await one.minute()
    await two.minute()
    for kind in ("audit", "checkpoints"):
        one.path(kind).unlink()
    finding = directory.verify().findings[0]
    assert "record 2 of host-2 says that host-1 had 4 records: its log is missing" in finding.fault
    single = verify([two.path()], jwks=directory.jwks)
    assert (single.findings, len(single.remarks)) == ([], 1)
    assert "host-1 had 4 records: its log is missing" in single.remarks[0]


async def test_a_log_that_is_set_back_with_its_checkpoints_is_found_by_its_neighbours_records(
    directory: Directory, make: Make
) -> None:
    one, two = await make(), await make()
    await one.works(1)
    await one.minute()
    before = {kind: one.path(kind).read_bytes() for kind in ("audit", "checkpoints")}
    await one.works(5)
    await one.minute()
    await two.minute()
    for kind, content in before.items():
        one.path(kind).write_bytes(content)
    assert directory.first_bad() == 4
    assert "record 2 of host-2 says that 8 records were written" in directory.verify().findings[0].fault
    one.log._writer._release()
    one = await make()  # The same instance goes on from what it finds.
    await one.works(9)
    await one.log.checkpoint()
    assert directory.first_bad() == 8
    assert "not the record that record 2 of host-2 saw here" in directory.verify().findings[0].fault


@pytest.mark.parametrize("replaced", ["set back", "another"])
async def test_a_neighbour_that_goes_back_or_contradicts_itself_is_an_alarm_once(make: Make, replaced: str) -> None:
    one, two = await make(), await make()
    await one.minute()
    before = {kind: one.path(kind).read_bytes() for kind in ("audit", "checkpoints")}
    await one.works(2)
    await one.minute()
    await two.minute()
    for kind, content in before.items():
        one.path(kind).write_bytes(content)
    if replaced == "another":
        one.log._writer._release()
        one = await make()
        await one.works(1)
        await one.log.checkpoint()
    for _ in range(3):
        await two.minute()
    (alarm,) = two.records("alert")
    assert (alarm["reason"], alarm["severity"]) == ("audit_neighbour_went_back", "high")
    assert "host-1" in alarm["why"][0]  # type: ignore[index]


async def test_instances_on_two_hosts_hear_of_each_other_by_courier(tmp_path: Path, make: Make) -> None:
    courier = Hash()
    one, two = await make("one", courier=courier), await make("two", courier=courier)
    await one.works(2)
    for _ in range(3):
        await one.minute()
        await two.minute()
    (record,) = two.records("neighbour_checkpoint")
    assert record["neighbour"]["instance"] == "one-1"  # type: ignore[index]
    jwks = {"keys": [signer_of(MASTER).jwk()]}
    assert verify([one.directory, two.directory], jwks=jwks).findings == []
    alone = verify([two.directory], jwks=jwks)
    assert alone.findings == []
    assert "its log is missing" in alone.remarks[0]
    shutil.rmtree(one.directory)
    (tmp_path / "one").mkdir()
    faults = [finding.fault for finding in verify([one.directory, two.directory], jwks=jwks).findings]
    assert faults == ["record 2 of two-1 says that one-1 had 3 records: its log is missing"]


async def test_an_old_note_that_the_courier_brings_again_is_an_alarm_only_if_it_stays(make: Make) -> None:
    courier = Hash()
    one, two = await make("one", courier=courier), await make("two", courier=courier)
    await one.minute()
    old = dict(courier.notes)
    await one.works()
    await one.minute()
    await two.minute()
    courier.notes |= old  # Redis was restored.
    await two.minute()
    assert two.records("alert") == []
    await one.minute()
    await two.minute()
    assert two.records("alert") == []
    for _ in range(3):
        courier.notes |= old
        await two.minute()
    assert len(two.records("alert")) == 1


@pytest.mark.parametrize("apart", [True, False], ids=["on two hosts", "in one directory"])
async def test_a_log_that_was_set_back_and_goes_on_at_once_is_an_alarm_once(make: Make, *, apart: bool) -> None:
    courier = Hash() if apart else None
    one, two = await make("one", courier=courier), await make("two", courier=courier)
    await one.minute()
    before = {kind: one.path(kind).read_bytes() for kind in ("audit", "checkpoints")}
    await one.works(20)
    await one.minute()
    await two.minute()
    one.log._writer._release()
    for kind, content in before.items():
        one.path(kind).write_bytes(content)
    one = await make("one", courier=courier)
    for _ in range(4):
        await one.works(1)
        await one.minute()
        await two.minute()
    (alarm,) = two.records("alert")
    assert alarm["reason"] == "audit_neighbour_went_back"


async def test_what_anybody_writes_to_the_courier_is_not_recorded(make: Make) -> None:
    courier = Hash()
    one, two = await make("one", courier=courier), await make("two", courier=courier)
    await one.works()
    await one.minute()
    genuine = courier.notes["one-1"]
    courier.notes = {
        "one-1": genuine.replace("\n2\n", "\n3\n"),
        "evil": genuine,
        "empty": "",
        "long": "x" * 1_000_000,
        "binary": "\ufffd\x00",
        **{f"many-{number}": "x" for number in range(1000)},
    }
    await two.minute()
    assert two.records("neighbour_checkpoint") == two.records("alert") == []


async def test_the_courier_forgets_who_is_gone_for_a_week(make: Make) -> None:
    courier, clock = Hash(), SetClock()
    one, two = await make("one", courier=courier), await make("two", courier=courier, clock=clock)
    await one.minute()
    clock.time += timedelta(days=8)
    await two.minute()
    assert courier.notes.keys() == {"two-1"}
    assert len(two.records("neighbour_checkpoint")) == 1


async def test_a_directory_that_cannot_be_read_is_no_end_of_looking(directory: Directory, make: Make) -> None:
    one = await make()
    directory.path.rename(directory.path.with_name("away"))
    await one.neighbours.look()
    directory.path.with_name("away").rename(directory.path)
    (directory.path / "checkpoints-x-1.notes").symlink_to("nowhere")
    await one.neighbours.look()
