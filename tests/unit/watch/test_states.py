"""What is kept is bounded and comes back as it was, after a restart too."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, Use
from broker.watch import states
from broker.watch.anomaly import person
from broker.watch.anomaly.finding import Kind
from broker.watch.states import InProcess, Name, Shelf, State
from broker.watch.states_file import StatesFile
from tests.fakes.audit import SetClock
from tests.fakes.life import ALICE, BERLIN, ELSEWHERE, SYDNEY, Life, at, days, kinds, refusal, sighting


def kept(directory: Path, own: InProcess, *, master: bytes = b"m" * 32, clock: SetClock | None = None) -> StatesFile:
    clock = clock or SetClock()
    envelope = DailyEnvelope(hierarchy=KeyHierarchy(master=master), use=Use.WATCH_SEAL, clock=clock, days=60)
    return StatesFile(directory=directory, states=own, envelope=envelope, clock=clock)


def full_life() -> Life:
    """With something in each part of what is known."""
    life = Life().learned(place=BERLIN)
    life.see([sighting(at(14, 3), where=ELSEWHERE, place=SYDNEY, role="prod")])
    life.see([refusal(at(14, 4), user=user) for user in (ALICE, "mallory@EXAMPLE.COM")])
    return life


def test_everything_known_of_somebody_comes_back_from_its_text() -> None:
    life = full_life()
    state = asyncio.run(life.states.read([Name(Shelf.PERSON, ALICE)]))[Name(Shelf.PERSON, ALICE)]
    again = person.decoded(state.text)
    assert person.encoded(again) == state.text
    assert again.last is not None
    assert (again.last.place.name, set(again.roles), again.denied.seen) == ("Sydney", {"dev", "prod"}, 1)
    assert set(again.said) >= {Kind.HOUR, Kind.TRAVEL, Kind.NETWORK, Kind.ROLE}


def test_a_state_stays_small_whatever_somebody_does() -> None:
    life = Life()
    for number in range(400):
        life.see([sighting(at(number // 8, number % 24), where=f"10.1.{number % 250}", role=f"role{number}")])
    state = asyncio.run(life.states.read([Name(Shelf.PERSON, ALICE)]))[Name(Shelf.PERSON, ALICE)]
    known = person.decoded(state.text)
    assert (len(known.networks), len(known.roles), len(known.rates)) == (32, 32, 32)
    assert len(state.text) < 6_000


def test_each_shelf_forgets_what_was_longest_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(states.LONGEST, Shelf.PERSON, 3)
    life = Life()
    for user in ("a@R", "b@R", "c@R", "a@R", "d@R"):
        life.see([sighting(at(0, 9), user=user)])
    held = asyncio.run(life.states.read([Name(Shelf.PERSON, f"{user}@R") for user in "abcd"]))
    assert {name.of for name in held} == {"a@R", "c@R", "d@R"}


def test_strangers_who_are_refused_push_out_nobody_who_is_known() -> None:
    life = Life().learned()
    limit = states.LONGEST[Shelf.STRANGER]
    life.see([refusal(at(14, 9), user=f"x{number}@EXAMPLE.COM") for number in range(limit + 50)])
    held = [name for name, _ in life.states.items()] if isinstance(life.states, InProcess) else []
    assert sum(name.shelf is Shelf.STRANGER for name in held) == limit
    assert Name(Shelf.PERSON, ALICE) in held


async def test_a_restart_is_no_cold_start(tmp_path: Path) -> None:
    before = InProcess()
    own = Life(before)
    for each in days(14):
        await own.detectors.look([each])
    await kept(tmp_path, before).save()
    after = InProcess()
    await kept(tmp_path, after).load()
    assert list(after.items()) == list(before.items())
    (alert,) = await Life(after).detectors.look([sighting(at(14, 3))])
    assert kinds([alert]) == [Kind.HOUR]


async def test_the_file_tells_nobody_who_does_what(tmp_path: Path) -> None:
    own = InProcess()
    own.put(Name(Shelf.PERSON, ALICE), State(1, b'["prod-admin"]'))
    await kept(tmp_path, own).save()
    written = (tmp_path / "watch-states").read_bytes()
    assert b"alice" not in written
    assert written.isascii()
    assert (tmp_path / "watch-states").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["altered", "cut", "another key", "a link", "another format"])
async def test_a_file_that_cannot_be_believed_is_a_cold_start_and_said(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    own = InProcess()
    own.put(Name(Shelf.PERSON, ALICE), State(1, b"[]"))
    path = tmp_path / "watch-states"
    await kept(tmp_path, own).save()
    text = path.read_bytes()
    if damage == "altered":
        path.write_bytes(text[:50] + (b"A" if text[50:51] != b"A" else b"B") + text[51:])
    elif damage == "cut":
        path.write_bytes(text[:50])
    elif damage == "a link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif damage == "another format":
        path.write_bytes(b"{}")
    after = InProcess()
    await kept(tmp_path, after, master=b"x" * 32 if damage == "another key" else b"m" * 32).load()
    assert list(after.items()) == []
    assert "learns anew" in caplog.text


async def test_where_there_is_no_file_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await kept(tmp_path, InProcess()).load()
    assert caplog.text == ""


async def test_a_folder_that_takes_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = kept(tmp_path / "missing", InProcess())
    await broken.save()
    await broken.save()
    assert caplog.text.count("cannot be kept") == 1
    assert os.listdir(tmp_path) == []  # noqa: PTH208
