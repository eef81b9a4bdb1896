"""The broker's side of a witness, with a real one behind real HTTP: what it asks, keeps, and calls out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from broker.admin.witness_server import application
from broker.audit import witnesses as module
from broker.audit.cosignature import Cosigner
from broker.audit.event import Event
from broker.audit.log import AuditLog
from broker.audit.signer import jwks_of, signer_of
from broker.audit.verify import verify
from broker.audit.witness import Witness
from broker.audit.witnesses import WitnessAddress, Witnesses
from broker.keys.signing import Ed25519Signer
from tests.fakes.audit import MASTER, SetClock, an_event

COSIGNER = Cosigner(name="witness.example.com/w1", signer=Ed25519Signer(seed=b"w" * 32))
IMPOSTOR = Cosigner(name="witness.example.com/w1", signer=Ed25519Signer(seed=b"i" * 32))


@dataclass
class Place:
    """A log and a witness; ``broken`` answers in the witness's stead."""

    folder: Path
    clock: SetClock = field(default_factory=SetClock)
    asked: list[str] = field(default_factory=list)
    broken: web.Response | None = None
    server: TestServer | None = None
    port: int | None = None
    alarms: list[Event] = field(default_factory=list)

    @property
    def audit(self) -> Path:
        return self.folder / "audit"

    async def serve(self, cosigner: Cosigner = COSIGNER) -> None:
        jwks = jwks_of(signer_of(MASTER))
        made = Witness(directory=self.folder / "state", cosigner=cosigner, jwks=lambda: jwks, clock=self.clock)
        app = application(made)
        app.middlewares.append(self._listen)
        app.on_cleanup.append(lambda _: _closed(made))
        self.server = TestServer(app, port=self.port)
        await self.server.start_server()
        self.port = self.server.port

    @web.middleware
    async def _listen(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.asked.append((await request.text()).partition("\n")[0])
        if self.broken is not None:
            return web.Response(status=self.broken.status, text=self.broken.text)
        return await handler(request)

    def log(self) -> AuditLog:
        return AuditLog(directory=self.audit, signer=signer_of(MASTER), clock=self.clock, observers=[])

    def witnesses(self, log: AuditLog) -> Witnesses:
        address = WitnessAddress(url=f"http://127.0.0.1:{self.port}/", key=COSIGNER.key)

        async def record(event: Event) -> None:
            self.alarms.append(event)

        made = Witnesses([address], directory=self.audit, keep=log.keep_cosigned, record=record, clock=self.clock)
        log.tell_of_checkpoints(made.offer)
        return made


async def _closed(made: Witness) -> None:
    made.close()


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(module, "_FIRST_PAUSE", timedelta(milliseconds=20))
    monkeypatch.setattr(module, "_LONGEST_PAUSE", timedelta(milliseconds=20))
    made = Place(tmp_path)
    await made.serve()
    yield made
    if made.server is not None:
        await made.server.close()


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # what is waited for is another program's doing
            await asyncio.sleep(0.01)


async def ended(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def test_each_checkpoint_is_shown_with_a_proof_from_the_last_and_kept_with_the_signature(place: Place) -> None:
    log = place.log()
    witnesses = place.witnesses(log)
    await log.open()
    task = asyncio.ensure_future(witnesses.keep_submitting())
    for number in range(2, 6):
        await until(lambda seen=number - 1: notes(place).count("— witness.example.com/w1 ") == seen)
        await log.record(an_event(number))
        await log.checkpoint()
    await until(lambda: len(place.asked) == 5)
    await until(lambda: "old 4" in place.asked)
    assert place.asked == ["old 0", "old 1", "old 2", "old 3", "old 4"]
    await until(lambda: notes(place).count("— witness.example.com/w1 ") == 5)
    assert await witnesses.ping() is None
    await log.close()
    await ended(task)
    report = verify([place.audit], jwks=jwks_of(signer_of(MASTER)), witnesses=[COSIGNER.key])
    assert (report.findings, place.alarms) == ([], [])


def notes(place: Place) -> str:
    return next(place.audit.glob("checkpoints-*.notes")).read_text()


async def test_a_broker_that_forgot_what_the_witness_saw_asks_and_goes_on_from_there(place: Place) -> None:
    await run_once(place)
    place.asked.clear()
    await run_once(place)
    assert (place.asked, place.alarms) == (["old 0", "old 1"], [])


async def run_once(place: Place) -> None:
    log = place.log()
    witnesses = place.witnesses(log)
    await log.open()
    task = asyncio.ensure_future(witnesses.keep_submitting())
    await until(lambda: witnesses.last_cosigned)
    await ended(task)
    await log.close()


async def test_where_no_checkpoint_has_that_size_any_more_the_records_themselves_are_the_proof(place: Place) -> None:
    await run_once(place)
    next(place.audit.glob("checkpoints-*.notes")).unlink()
    await run_once(place)
    assert (place.asked, place.alarms) == (["old 0", "old 0", "old 1"], [])


async def test_a_witness_that_cannot_be_reached_is_no_alarm_but_does_not_stay_unsaid(place: Place) -> None:
    assert place.server is not None
    log = place.log()
    witnesses = place.witnesses(log)
    await place.server.close()
    await log.open()
    task = asyncio.ensure_future(witnesses.keep_submitting())
    await asyncio.sleep(0.2)
    assert (await witnesses.ping(), place.alarms) == (None, [])
    place.clock.time += timedelta(minutes=11)
    assert "cannot be reached" in str(await witnesses.ping())
    await place.serve()
    await until(lambda: witnesses.last_cosigned)
    assert (await witnesses.ping(), place.alarms) == (None, [])
    await ended(task)
    await log.close()


@pytest.mark.parametrize(
    ("status", "text", "alarming"),
    [
        (422, "no", True),
        (403, "no", True),
        (404, "no", True),
        (409, "no size", True),
        (409, "99999\n", True),
        (200, "", True),
        (200, "not a line\n", True),
        (500, "x" * 100_000, False),
        (502, "<html>", False),
        (302, "", False),
        (429, "", False),
    ],
)
async def test_a_no_is_an_alarm_once_and_a_stumble_in_between_is_none(
    place: Place, status: int, text: str, *, alarming: bool
) -> None:
    place.broken = web.Response(status=status, text=text)
    log = place.log()
    witnesses = place.witnesses(log)
    await log.open()
    task = asyncio.ensure_future(witnesses.keep_submitting())
    await until(lambda: len(place.asked) > 4)
    assert len(place.alarms) == alarming
    assert (await witnesses.ping() is not None) == alarming
    assert witnesses.last_cosigned == 0
    if text == "99999\n":
        assert "saw 99999 records of this log, which has 1: the log was set back" in place.alarms[0].details["why"][0]
    place.broken = None
    await until(lambda: witnesses.last_cosigned)
    assert await witnesses.ping() is None
    await ended(task)
    await log.close()


async def test_the_signature_of_another_key_is_not_kept_and_is_an_alarm(place: Place) -> None:
    assert place.server is not None
    await place.server.close()
    await place.serve(IMPOSTOR)
    log = place.log()
    witnesses = place.witnesses(log)
    await log.open()
    task = asyncio.ensure_future(witnesses.keep_submitting())
    await until(lambda: place.alarms)
    assert "its cosignature is wrong" in place.alarms[0].details["why"][0]
    assert "witness.example.com" not in notes(place)
    await ended(task)
    await log.close()
