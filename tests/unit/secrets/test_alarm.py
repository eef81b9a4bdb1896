"""What somebody did to the vault's store is told once for each finding, by whomever it is found, and cannot fill the log."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from broker.keys.envelope import Envelope
from broker.remote.failure import Malformed
from broker.secrets import alarm as module
from broker.secrets.alarm import VaultAlarm
from broker.secrets.census import Census
from broker.secrets.metadata import Details
from broker.secrets.store import Swap
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault
from tests.fakes.cache import MovedClock, Records
from tests.fakes.vault import KEY, NEWER_KEY, fields

MINUTE = timedelta(minutes=1)


class Site:
    """A vault with an alarm over a store that is in others' hands."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.records = MovedClock(), Records()
        self.alarm = VaultAlarm(audit=cast("Any", self.records), clock=self.clock)
        self.store = SqliteStore(directory=folder)
        self.vault = self.with_keys(KEY)

    def with_keys(self, *keys: bytes) -> Vault:
        return Vault(store=self.store, envelope=Envelope(keys=keys), clock=self.clock, hear=self.alarm.hear)

    async def told(self) -> list[tuple[str, str | None]]:
        while not self.alarm._waiting.empty():
            await self.alarm.tell(*self.alarm._waiting.get_nowait())
        return [(event.resource, event.reason) for event in self.records.events]

    async def name(self, path: str) -> bytes:
        return await self.vault._rows.name(path)

    async def put(self, path: str, head: bytes, **versions: bytes) -> None:
        name = await self.name(path)
        puts = {int(number[1:]): blob for number, blob in versions.items()}
        before = await self.store.head(name)
        assert await self.store.swap([Swap(name=name, before=before, after=head, puts=puts)]) == [True]

    async def head(self, path: str) -> bytes:
        head = await self.store.head(await self.name(path))
        assert head is not None
        return head

    async def asked(self, path: str) -> str:
        with pytest.raises(Malformed) as caught:
            await self.vault.read(path)
        return caught.value.reason


def flipped(blob: bytes) -> bytes:
    return blob[:-1] + bytes([blob[-1] ^ 1])


@pytest.fixture
async def site(tmp_path: Path) -> Any:
    site = Site(tmp_path)
    await site.vault.write("db/main", fields(password="v1"))
    await site.vault.write("db/other", fields(password="v1"))
    yield site
    await site.store.close()


async def test_an_altered_head_is_one_record_however_often_it_is_asked_for_and_counted(site: Site) -> None:
    await site.put("db/main", flipped(await site.head("db/main")))
    for _ in range(3):
        assert await site.asked("db/main") == "altered"
    for _ in range(2):
        tally = await site.vault.tally()
    assert (tally.live, tally.damaged) == (1, 1)
    assert await site.told() == [("db/main", "row_altered")]
    (event,) = site.records.events
    assert (event.kind, event.success, event.details["unrecorded"]) == ("vault_tamper", False, 0)
    assert "altered or moved" in event.details["found"]


async def test_an_older_row_put_back_and_one_taken_away_are_findings(site: Site) -> None:
    older = await site.head("db/main")
    await site.vault.write("db/main", fields(password="v2"))
    await site.put("db/main", older)
    assert await site.asked("db/main") == "rolled_back"
    await site.store._do(lambda db: db.execute("DELETE FROM versions").fetchall())
    assert await site.asked("db/other") == "vanished"
    assert await site.told() == [("db/main", "row_rolled_back"), ("db/other", "row_vanished")]


async def test_a_store_that_was_exchanged_is_one_finding_for_all_paths(site: Site) -> None:
    header = await site.store.header()
    assert header is not None
    await site.store.put_header(header, b"another generation, and what lies behind")
    for path in ("a", "b", "c"):
        assert await site.asked(path) == "replaced"
    with pytest.raises(Malformed):
        await site.vault.write("d", fields(value="v"))
    assert await site.told() == [("the store", "row_replaced")]


async def test_a_rewrap_tells_what_it_cannot_open(site: Site) -> None:
    name = await site.name("db/main")
    blob = await site.store.version(name, 1)
    assert blob is not None
    await site.put("db/main", await site.head("db/main"), v1=flipped(blob))
    done = await site.with_keys(NEWER_KEY, KEY).rewrap()
    assert done.broken == 1
    assert await site.told() == [("db/main", "row_altered")]


async def test_a_key_that_is_not_there_is_no_tampering(site: Site) -> None:
    with contextlib.suppress(Malformed):
        await site.with_keys(NEWER_KEY).read("db/main")
    assert await site.told() == []


async def test_many_findings_fill_no_log_and_what_was_not_told_is_when_it_is_found_again(site: Site) -> None:
    def hear_all() -> None:
        for number in range(module._RECORDS + 5):
            site.alarm.hear(b"%d" % number, f"s{number}", Malformed("it", reason="altered"))

    hear_all()
    assert len(await site.told()) == module._RECORDS
    hear_all()
    site.clock.move(MINUTE)
    assert len(await site.told()) == module._RECORDS + 5
    assert site.records.events[module._RECORDS].details["unrecorded"] == 5
    hear_all()
    assert len(await site.told()) == module._RECORDS + 5


async def test_a_finding_that_cannot_be_recorded_is_told_when_it_is_found_again(site: Site) -> None:
    finding = (b"n", "db/main", Malformed("it", reason="altered"))
    site.records.broken = True
    site.alarm.hear(*finding)
    await site.told()
    site.records.broken = False
    site.alarm.hear(*finding)
    assert (await site.told())[-1] == ("db/main", "row_altered")
    assert site.records.events[-1].details["unrecorded"] == 1


async def test_the_census_counts_each_secret_in_one_state_and_what_is_overdue(site: Site) -> None:
    vault, census = site.vault, Census(vault=site.vault, is_wanted=lambda: True)
    assert census.states == {}
    assert census.overdue != census.overdue  # not a number
    soon = site.clock.now() + MINUTE
    await vault.write("expired", fields(value="v"), details=Details(expires=soon))
    await vault.write("both", fields(value="v"), details=Details(expires=soon))
    await vault.archive("both")
    await vault.annotate("db/other", lambda before: replace(before, rotate_every=MINUTE))
    await vault.write("gone", fields(value="v"))
    await vault.purge("gone")
    site.clock.move(2 * MINUTE)
    await census.count()
    assert census.states == {"live": 2.0, "expired": 1.0, "archived": 1.0, "damaged": 0.0}
    assert census.overdue == 1.0
    header = await site.store.header()
    assert header is not None
    await site.store.put_header(header, b"another generation, and what lies behind")
    await census.count()
    assert census.states == {}
