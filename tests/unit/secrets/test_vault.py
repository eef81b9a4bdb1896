"""The integrated vault, over a real file: what each operation does, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from broker.core.secret import Secret
from broker.remote.failure import Conflict, Missing, Refused
from broker.secrets.encoding import FIELDS_MAX, VALUES_MAX
from broker.secrets.metadata import Details, Stamp
from broker.secrets.unfit import Archived, Expired, Unfit
from broker.secrets.vault import Vault
from tests.fakes.cache import MovedClock
from tests.fakes.vault import ALICE, START, fields, shown, vault_in

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def vault(tmp_path: Path, clock: MovedClock) -> AsyncIterator[Vault]:
    vault = vault_in(tmp_path, clock=clock)
    yield vault
    await vault.close()


async def reason_of(kind: type[Exception], vault: Vault, path: str = "a", version: str | None = None) -> str:
    with pytest.raises(kind) as caught:
        await vault.read(path, version=version)
    return str(getattr(caught.value, "reason", ""))


async def test_each_version_is_read_by_its_number_and_the_newest_without(vault: Vault) -> None:
    assert await vault.write("db/main", fields(user="app", password="one"), by=ALICE) == "1"
    assert await vault.write("db/main", fields(user="app", password="two"), by=ALICE) == "2"
    assert shown(await vault.read("db/main")) == {"user": "app", "password": "two"}
    first = await vault.read("db/main", version="1")
    assert (shown(first)["password"], first.number, first.made, first.lease_ends) == ("one", "1", START, None)


@pytest.mark.parametrize("cas", [0, 1, 3])
async def test_a_write_that_expects_another_version_conflicts_and_changes_nothing(vault: Vault, cas: int) -> None:
    await vault.write("a", fields(value="1"))
    await vault.write("a", fields(value="2"))
    with pytest.raises(Conflict) as caught:
        await vault.write("a", fields(value="3"), cas=cas)
    assert caught.value.reason == "cas_mismatch"
    assert shown(await vault.read("a")) == {"value": "2"}
    assert await vault.write("a", fields(value="3"), cas=2) == "3"


async def test_check_and_set_counts_a_deleted_version_and_zero_means_that_there_is_no_secret(vault: Vault) -> None:
    with pytest.raises(Conflict):
        await vault.write("a", fields(value="1"), cas=1)
    await vault.write("a", fields(value="1"), cas=0)
    await vault.delete("a")
    with pytest.raises(Conflict):
        await vault.write("a", fields(value="2"), cas=0)
    assert await vault.write("a", fields(value="2"), cas=1) == "2"


async def test_what_is_deleted_comes_back_and_what_is_destroyed_does_not(vault: Vault) -> None:
    for text in ("1", "2", "3"):
        await vault.write("a", fields(value=text))
    await vault.delete("a", by=ALICE)
    assert await reason_of(Missing, vault) == "deleted"
    assert shown(await vault.read("a", version="2")) == {"value": "2"}
    await vault.undelete("a")
    assert shown(await vault.read("a")) == {"value": "3"}
    await vault.destroy("a", [1, 3])
    assert await reason_of(Missing, vault) == "destroyed"
    with pytest.raises(Missing, match="destroyed"):
        await vault.undelete("a", [3])
    assert [one.is_readable for one in await vault.versions("a")] == [False, True, False]


async def test_what_is_purged_is_as_if_it_had_never_been_but_its_numbers_are_used_up(vault: Vault) -> None:
    await vault.write("a", fields(value="1"), details=Details(contact="ops"))
    await vault.write("b", fields(value="1"))
    await vault.purge("a")
    assert await reason_of(Missing, vault) == "not_found"
    assert await vault.list("") == ["b"]
    with pytest.raises(Missing):
        await vault.metadata("a")
    assert await vault.write("a", fields(value="new"), cas=0) == "2"
    assert await reason_of(Missing, vault, version="1") == "no_such_version"
    assert (await vault.metadata("a")).details == Details()


async def test_paths_below_are_listed_in_order_and_a_name_that_only_begins_so_is_not_below(vault: Vault) -> None:
    for path in ("app/z", "app/a/b", "apple", "b", "app"):
        await vault.write(path, fields(value="x"))
    assert await vault.list("") == ["app", "app/a/b", "app/z", "apple", "b"]
    assert await vault.list("app") == await vault.list("app/") == ["app/a/b", "app/z"]


async def test_a_secret_past_its_date_is_refused_until_the_date_moves(vault: Vault, clock: MovedClock) -> None:
    await vault.write("a", fields(value="1"), details=Details(expires=START + DAY))
    clock.move(DAY - timedelta(microseconds=1))
    assert shown(await vault.read("a")) == {"value": "1"}
    clock.move(timedelta(microseconds=1))
    assert await reason_of(Expired, vault) == "expired"
    assert await reason_of(Expired, vault, version="1") == "expired"
    await vault.annotate("a", lambda details: replace(details, expires=START + 2 * DAY))
    assert shown(await vault.read("a")) == {"value": "1"}


async def test_an_archived_secret_is_kept_and_neither_read_nor_written_nor_listed(vault: Vault) -> None:
    await vault.write("a", fields(value="1"), details=Details(rotate_every=DAY))
    await vault.archive("a", by=ALICE)
    assert await reason_of(Archived, vault) == "archived"
    for refused in (
        vault.write("a", fields(value="2")),
        vault.delete("a"),
        vault.destroy("a", [1]),
        vault.undelete("a"),
    ):
        with pytest.raises(Archived):
            await refused
    assert (await vault.list(""), await vault.list("", archived=True)) == ([], ["a"])
    assert (await vault.metadata("a")).archived == Stamp(START, ALICE)
    await vault.unarchive("a")
    assert shown(await vault.read("a")) == {"value": "1"}


async def test_metadata_says_who_did_what_and_when(vault: Vault, clock: MovedClock) -> None:
    details = Details(contact="ops@example.com", purpose="billing", kind="password", labels={"team": "red"})
    moments = []
    for step in (
        lambda: vault.write("a", fields(value="1"), details=details, by=ALICE),
        lambda: vault.write("a", fields(value="2"), by=ALICE),
        lambda: vault.delete("a", [1], by=ALICE),
        lambda: vault.read("a", by=ALICE),
        lambda: vault.annotate("a", lambda one: replace(one, contact="dev"), by=ALICE),
    ):
        clock.move(DAY)
        moments.append(Stamp(clock.now(), ALICE))
        await step()
    found = await vault.metadata("a")
    assert [found.created, found.rotated, found.deleted, found.used, found.annotated] == moments
    assert found.details == replace(details, contact="dev")
    assert found.newest == 2


async def test_uses_are_written_down_together_and_the_last_one_counts(tmp_path: Path, clock: MovedClock) -> None:
    one, other = vault_in(tmp_path, clock=clock), vault_in(tmp_path, clock=clock)
    await one.write("a", fields(value="1"))
    await one.read("a", by=ALICE)
    clock.move(DAY)
    await other.read("a", by=ALICE)
    await other.note_uses()
    # The earlier use is written down later, and does not count.
    await one.note_uses()
    fresh = vault_in(tmp_path, clock=clock)
    assert (await fresh.metadata("a")).used == Stamp(START + DAY, ALICE)
    for vault in (one, other, fresh):
        await vault.close()


async def test_overdue_rotations_are_listed_the_longest_overdue_first(vault: Vault, clock: MovedClock) -> None:
    await vault.write("often", fields(value="1"), details=Details(rotate_every=DAY, contact="ops"))
    await vault.write("seldom", fields(value="1"), details=Details(rotate_every=2 * DAY))
    await vault.write("never", fields(value="1"))
    clock.move(3 * DAY)
    assert [(due.path, due.since, due.contact) for due in await vault.due()] == [
        ("often", START + DAY, "ops"),
        ("seldom", START + 2 * DAY, ""),
    ]
    await vault.write("often", fields(value="2"))
    assert [due.path for due in await vault.due()] == ["seldom"]
    assert (await vault.tally()).overdue == 1


async def test_versions_beyond_those_kept_are_gone(vault: Vault) -> None:
    await vault.write("a", fields(value="0"), details=Details(versions_kept=2))
    for text in ("1", "2", "3"):
        await vault.write("a", fields(value=text))
    assert [one.number for one in await vault.versions("a")] == [3, 4]
    assert await reason_of(Missing, vault, version="2") == "no_such_version"


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"value": Secret("\ud800")},
        {"value": Secret("x" * VALUES_MAX)},
        {"a b": Secret("x")},
        {f"f{number}": Secret("") for number in range(FIELDS_MAX + 1)},
    ],
)
async def test_what_is_no_secret_is_refused_before_anything_is_kept(vault: Vault, bad: dict[str, Secret]) -> None:
    with pytest.raises(Unfit, match="fix: "):
        await vault.write("a", bad)
    assert await vault.list("") == []


@pytest.mark.parametrize("path", ["", "/", "a//b", "../a", "a/.", "a b", "é", "a" * 257, "a\n"])
async def test_what_is_no_path_is_refused(vault: Vault, path: str) -> None:
    with pytest.raises(Refused, match="fix: "):
        await vault.write(path, fields(value="1"))
    assert await reason_of(Unfit, vault, path=path) == "unfit_path"


@pytest.mark.parametrize("version", ["0", "-1", "01", "x", "", "²", "1" * 19])
async def test_what_is_no_version_is_refused(vault: Vault, version: str) -> None:
    await vault.write("a", fields(value="1"))
    assert await reason_of(Unfit, vault, version=version) == "unfit_version"


@pytest.mark.parametrize(
    "bad",
    [
        {"contact": "a\nb"},
        {"purpose": "x" * 1025},
        {"rotate_every": timedelta(0)},
        {"expires": START.replace(tzinfo=None)},
        {"expires": datetime.fromisoformat("9999-12-31T23:59:59-01:00")},
        {"expires": datetime.fromisoformat("0001-01-01T00:00:00+01:00")},
        {"expires": datetime.fromisoformat("0999-12-31T23:59:59Z")},
        {"versions_kept": 0},
        {"versions_kept": 101},
        {"labels": {"a b": ""}},
        {"labels": {f"l{number}": "" for number in range(33)}},
    ],
)
def test_metadata_that_nobody_could_show_or_obey_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(Unfit, match="fix: "):
        Details(**bad)  # type: ignore[arg-type]
