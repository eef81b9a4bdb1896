"""Every store seals anew what an older version of its keys sealed, while it is used, and says what it still needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from redis import asyncio as redis

from broker.audit.signer import signer_of
from broker.authz.elevation import REQUEST, Approval, Request, Rows
from broker.authz.elevation_store import MemoryStore, RedisStore, Resealing, Store
from broker.core.roles import RoleName
from broker.issuing.review import Reviews
from broker.keys.envelope import CannotOpen, armoured, unarmoured
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, KeyVersion, Kind, Use
from broker.keys.sealed import Sealed
from broker.revocation.epochs import Epochs
from broker.revocation.file import LedgerFile
from broker.revocation.ledger import Kind as What
from broker.revocation.ledger import Subject
from broker.revocation.spread import Spread
from broker.watch.shared import Shared
from broker.watch.spool import SpoolFile
from broker.watch.states import InProcess, Name, Shelf, State
from broker.watch.states_file import StatesFile
from tests.fakes.audit import NOON, SetClock
from tests.fakes.redis import RedisServer

OLD, NEW = KeyVersion(b"o" * 32), KeyVersion(b"n" * 32)
MINUTE = timedelta(minutes=1)
ASKED = Request(
    id="0" * 32,
    user="alice@R",
    person="alice@R",
    role=RoleName("admin"),
    scope=None,
    rule="prod",
    terms="t" * 64,
    reason="INC-1",
    asked=NOON.replace(microsecond=0),
    duration=30 * MINUTE,
    needed=1,
    epoch=0,
    birth=None,
)
BY_BOB = Approval(user="bob@R", person="bob@R", at=NOON.replace(microsecond=0), epoch=0, birth=None)

Rotate = Callable[[], None]


@pytest.fixture
def keys() -> KeyHierarchy:
    return KeyHierarchy.of({kind: [OLD] for kind in Kind})


@pytest.fixture
def rotate(keys: KeyHierarchy) -> Rotate:
    return lambda: keys.take({**{kind: [OLD] for kind in Kind}, Kind.DATA: [NEW, OLD]})


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[redis.Redis]:
    made = redis.Redis.from_url(redis_server.url_with_password, socket_timeout=5)
    yield made
    await made.aclose()


async def anew(store: Sealed) -> None:
    """Once it says what was needed, then that the newest is enough."""
    assert OLD.id in await store.reseal()
    assert await store.reseal() == {NEW.id}


async def test_revocations_on_the_disk_and_in_redis(
    keys: KeyHierarchy, rotate: Rotate, client: redis.Redis, tmp_path: Path
) -> None:
    envelope, clock = keys.envelope(Use.REVOCATION_SEAL), SetClock()
    spread = Spread(client=client, envelope=envelope, name_key=b"n" * 32, clock=clock)
    epochs = Epochs(file=LedgerFile(directory=tmp_path, envelope=envelope), spread=spread, clock=clock)
    await epochs.open()
    await epochs.enter([Subject(What.USER, f"u{number}@R") for number in range(3)], by="root@R")
    assert await epochs.reseal() == {OLD.id}
    rotate()
    await anew(epochs)
    lies = [
        unarmoured((tmp_path / "revocations").read_bytes()),
        *(await client.hvals("zerotrust:{shared}:revocations")),
    ]
    assert len(lies) == 4
    assert all(envelope.is_newest(blob) for blob in lies)
    keys.take({kind: [NEW] for kind in Kind})
    again = Epochs(file=LedgerFile(directory=tmp_path, envelope=envelope), spread=None, clock=clock)
    assert len(again.entries) == 3


async def test_a_blob_of_a_stranger_that_names_an_old_version_keeps_no_key(
    keys: KeyHierarchy, rotate: Rotate, client: redis.Redis, tmp_path: Path
) -> None:
    envelope, clock = keys.envelope(Use.REVOCATION_SEAL), SetClock()
    spread = Spread(client=client, envelope=envelope, name_key=b"n" * 32, clock=clock)
    epochs = Epochs(file=LedgerFile(directory=tmp_path, envelope=envelope), spread=spread, clock=clock)
    await epochs.enter([Subject(What.USER, "u@R")], by="root@R")
    forged = envelope.seal(b"x", context=b"of another place")
    rotate()
    await client.hset("zerotrust:{shared}:revocations", "f" * 32, forged)
    await epochs.reseal()
    assert await epochs.reseal() == {NEW.id}


@pytest.mark.parametrize("where", ["redis", "memory"])
async def test_requests_for_time_boxes_and_their_approvals(
    keys: KeyHierarchy, rotate: Rotate, client: redis.Redis, where: str
) -> None:
    rows, clock = Rows(envelope=keys.envelope(Use.ELEVATION_SEAL), name_key=b"n" * 32), SetClock()
    store: Store = RedisStore(client=client, clock=clock) if where == "redis" else MemoryStore(clock=clock)
    by_bob = rows.approval_name("bob@R")
    await store.add(
        ASKED.id,
        {REQUEST: rows.seal_request(ASKED), by_bob: rows.seal_approval(ASKED, BY_BOB), b"junk": b"x" * 60},
        owner=rows.owner("alice@R"),
        until=NOON.replace(year=2100),
    )
    ends = await client.pttl("zerotrust:{shared}:elevation:" + ASKED.id)
    store_of_keys = Resealing(store=store, rows=rows)
    assert await store_of_keys.reseal() == {OLD.id}
    rotate()
    await anew(store_of_keys)
    keys.take({kind: [NEW] for kind in Kind})
    assert rows.opened(ASKED.id, await store.get(ASKED.id)) == (ASKED, [BY_BOB])
    assert abs(await client.pttl("zerotrust:{shared}:elevation:" + ASKED.id) - ends) < 60_000


async def test_a_row_that_was_changed_meanwhile_is_left_as_it_is(client: redis.Redis) -> None:
    store = RedisStore(client=client, clock=SetClock())
    await store.add("a", {b"row": b"later"}, owner="o", until=NOON.replace(year=2100))
    await store.exchange("a", b"row", before=b"before", after=b"anew")
    await store.exchange("gone", b"row", before=b"before", after=b"anew")
    assert await store.get("a") == {b"row": b"later"}
    assert await store.get("gone") == {}


async def test_what_the_watch_knows_in_redis(keys: KeyHierarchy, rotate: Rotate, client: redis.Redis) -> None:
    envelope = DailyEnvelope(hierarchy=keys, use=Use.WATCH_SEAL, clock=SetClock(), days=60)
    states = Shared(client=client, envelope=envelope, name_key=b"n" * 32, clock=SetClock())
    name = Name(Shelf.PERSON, "alice@R")
    await states.read([name])
    await states.write({name: b"{}"})
    await client.set("zerotrust:{shared}:watch:junk", b"x" * 60)
    (key,) = [key for key in await client.keys("zerotrust:{shared}:watch:*") if b"junk" not in key]
    ends = await client.pttl(key)
    rotate()
    await anew(states)
    assert 0 < ends - await client.pttl(key) < 60_000 or await client.pttl(key) == ends
    keys.take({kind: [NEW] for kind in Kind})
    other = Shared(client=client, envelope=envelope, name_key=b"n" * 32, clock=SetClock())
    assert (await other.read([name]))[name].text == b"{}"


async def test_what_the_watch_knows_on_the_disk_and_not_before_it_was_read(
    keys: KeyHierarchy, rotate: Rotate, tmp_path: Path
) -> None:
    envelope = DailyEnvelope(hierarchy=keys, use=Use.WATCH_SEAL, clock=SetClock(), days=60)
    before = InProcess()
    before.put(Name(Shelf.PERSON, "alice@R"), State(1, b"{}"))
    await StatesFile(directory=tmp_path, states=before, envelope=envelope, clock=SetClock()).save()
    rotate()
    own = InProcess()
    kept = StatesFile(directory=tmp_path, states=own, envelope=envelope, clock=SetClock())
    assert await kept.reseal() == {OLD.id}
    assert await kept.reseal() == {OLD.id}
    await kept.load()
    await anew(kept)
    keys.take({kind: [NEW] for kind in Kind})
    assert list(dict(own.items())) == [Name(Shelf.PERSON, "alice@R")]
    await StatesFile(directory=tmp_path, states=InProcess(), envelope=envelope, clock=SetClock()).load()


def test_notifications_say_which_files_need_what_whosever_they_are(
    keys: KeyHierarchy, rotate: Rotate, tmp_path: Path
) -> None:
    envelope = keys.envelope(Use.NOTIFICATION_SEAL)
    mine, other = (SpoolFile(directory=tmp_path, envelope=envelope) for _ in range(2))
    for spool in (mine, other):
        spool.open()
        spool.write([])
    rotate()
    mine.write([])
    assert mine.seals() == {OLD.id: False, NEW.id: True}
    (tmp_path / "notifications-3").write_bytes(armoured(b"junk" * 20))
    other.write([])
    assert mine.seals().get(NEW.id) is True
    assert OLD.id not in mine.seals()


async def test_the_journal_of_broken_glass(keys: KeyHierarchy, rotate: Rotate, tmp_path: Path) -> None:
    rows = Rows(envelope=keys.envelope(Use.ELEVATION_SEAL), name_key=b"n" * 32)
    journal = tmp_path / "reviews" / f"{ASKED.id}.broken"
    journal.parent.mkdir()
    journal.write_bytes(armoured(rows.seal_request(ASKED)))
    unused = cast("Any", None)
    reviews = Reviews(
        directory=tmp_path,
        records=tmp_path,
        rows=rows,
        signer=signer_of(b"m" * 32),
        audit=unused,
        epochs=unused,
        births=unused,
        clock=SetClock(),
    )
    assert await reviews.reseal() == {OLD.id}
    rotate()
    await anew(reviews)
    keys.take({kind: [NEW] for kind in Kind})
    assert rows.request(ASKED.id, unarmoured(journal.read_bytes())) == ASKED


def test_a_row_of_broken_glass_is_renewed_as_itself_alone(keys: KeyHierarchy, rotate: Rotate) -> None:
    rows = Rows(envelope=keys.envelope(Use.ELEVATION_SEAL), name_key=b"n" * 32)
    row = rows.seal_request(ASKED)
    rotate()
    renewed = rows.renewed(ASKED.id, REQUEST, row)
    assert renewed is not None
    assert renewed[1] == OLD.id
    assert rows.request(ASKED.id, renewed[0]) == ASKED
    assert rows.renewed("1" * 32, REQUEST, row) is None
    with pytest.raises(CannotOpen):
        rows.request("1" * 32, renewed[0])
