"""Broken glass: it shouts before it opens, needs nobody, outlives restarts, and is looked at by somebody else."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from broker.audit.event import Event
from broker.audit.log import AuditLog
from broker.audit.signer import jwks_of, signer_of
from broker.core.errors import (
    AccessDenied,
    ApprovalRequired,
    ApprovalsUnavailable,
    AuditUnavailable,
    BadRequest,
    NotFound,
    PassRefused,
    ReplayGuardUnavailable,
)
from broker.core.principal import Principal
from broker.issuing.ask import Ask
from broker.issuing.boxes import described
from broker.issuing.elevate import Wanted
from broker.issuing.review import Reviews
from broker.revocation.ledger import EVERY_ROLE, Kind, Subject
from tests.fakes.elevation import elevating
from tests.unit.issuing.test_elevate import refusal, rule
from tests.unit.issuing.test_issue import House, token_for

WANTED = Wanted(role="developer", scope=None, reason="the site is down")
MASTER = b"m" * 32


class Operators:
    """The real bracket around whoever the test says asks."""

    def __init__(self, audit: AuditLog, who: str) -> None:
        self._audit = audit
        self._who = Principal.parse(who)

    @asynccontextmanager
    async def attempt(self, ask: Ask, *, action: str, resource: str) -> AsyncIterator[Event]:
        event = Event(action=action, resource=resource, request_id=ask.request_id, principal=self._who)
        async with self._audit.attempt(event):
            yield event


@pytest.fixture
async def house() -> House:
    return House(replace(rule(approval=1), name="by others"), replace(rule(break_glass=True), name="emergency"))


async def broken(house: House, who: str = "alice@R") -> str:
    seen = await house.elevating.desk.break_glass(house.asking(authorization=token_for(who)), WANTED)
    assert described(seen)["state"] == "open"
    return seen.standing.request.id


async def test_one_person_alone_is_let_in_and_the_alarm_is_on_record_first(house: House) -> None:
    identifier = await broken(house)
    await house.ask()
    alarm, opened, intent, issued = house.audit.events
    assert [one.kind for one in (alarm, opened, intent, issued)] == ["alert", "break_glass", "intent", "issued"]
    assert (alarm.reason, alarm.details["severity"], alarm.details["cause"]) == ("break_glass", "high", "elevation")
    assert "alice@R broke the glass for developer" in alarm.details["why"][0]
    assert str(alarm.principal) == "alice@R"
    assert {one.details["elevation"] for one in (alarm, opened, intent, issued)} == {identifier}
    assert issued.details["stated_reason"] == WANTED.reason


@pytest.mark.parametrize("missing", ["alert", "break_glass"])
async def test_without_the_alarm_on_record_nothing_is_opened(house: House, missing: str) -> None:
    house.audit.broken = lambda event: event.kind == missing
    await refusal(AuditUnavailable, broken(house))
    house.audit.broken = lambda _: False
    if missing == "alert":
        await house.refused(ApprovalRequired)
        assert house.elevating.reviews.unclosed == 0


async def test_without_a_place_for_the_review_nothing_is_opened(house: House) -> None:
    (house.elevating.folder / "reviews").write_text("a file in the folder's place")
    assert await refusal(ApprovalsUnavailable, broken(house)) == "state_not_written"
    await house.refused(ApprovalRequired)


async def test_it_needs_no_store_and_the_record_says_that_it_counts_only_here(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: Any, **__: Any) -> None:
        raise ApprovalsUnavailable("ConnectionError")

    for name in ("of", "get", "add"):
        monkeypatch.setattr(house.elevating.store, name, down)
    await broken(house)
    assert house.audit.events[-1].details["only_here"] == "approvals_unavailable"
    await house.ask()


@pytest.mark.parametrize("who", ["mallory@R", "bob@R", "alice/admin@R"])
async def test_only_those_whom_the_rule_names_break_it(house: House, who: str) -> None:
    await refusal(AccessDenied, broken(house, who))
    assert [event.kind for event in house.audit.events] == ["refused"]


async def test_a_session_breaks_it_where_no_ticket_counts_and_a_job_never_does(house: House) -> None:
    standing = await house.overviews.of(house.asking(authorization=token_for("alice@R")))
    assert standing.cookie is not None
    house.guard.error = ReplayGuardUnavailable()
    await refusal(ReplayGuardUnavailable, broken(house))
    cookie = standing.cookie.value.reveal()
    await house.elevating.desk.break_glass(house.asking(cookie=cookie), WANTED)
    await house.issuer.issue(house.asking(cookie=cookie), role="developer")
    with pytest.raises(PassRefused):
        await house.elevating.desk.break_glass(house.asking(authorization="ztpass_x"), WANTED)


async def test_it_ends_with_its_time_or_when_its_breaker_closes_it(house: House) -> None:
    first = await broken(house)
    await house.elevating.desk.deny(house.asking(authorization=token_for("alice@R")), first, reason=None)
    await house.refused(ApprovalRequired)
    await broken(house)
    house.clock.moment += timedelta(minutes=61)
    await house.refused(ApprovalRequired)


async def test_a_revocation_closes_it(house: House) -> None:
    await broken(house)
    hold = Subject(Kind.CREDENTIALS, "alice@R", EVERY_ROLE)
    await house.epochs.enter([hold], by="root/admin@R")
    await house.epochs.enter([hold], by="root/admin@R", held=False)
    await house.refused(ApprovalRequired)


# ---- the review ----


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house whose records are on a disk, and whose reviews look every moment."""
    monkeypatch.setattr("broker.issuing.review._LOOK_EVERY", timedelta(milliseconds=10))
    house = House(replace(rule(break_glass=True), name="emergency"))
    (tmp_path / "records").mkdir()
    log = AuditLog(directory=tmp_path / "records", signer=signer_of(MASTER), clock=house.clock, observers=[])
    await log.open()
    house.issuer._audit = house.issuer._entrance._audit = log
    again(house, tmp_path, log)
    yield house
    await log.close()


def again(house: House, folder: Path, log: AuditLog) -> Reviews:
    """What a start makes of the disk."""
    house.elevating = elevating(
        house.hierarchy,
        entrance=house.issuer._entrance,
        policies=house.policies,
        epochs=house.epochs,
        audit=log,
        clock=house.clock,
        folder=folder,
    )
    house.issuer._boxes = house.elevating.boxes
    return house.elevating.reviews


async def packed(house: House) -> None:
    """Until every box that is over has its packet."""
    waiting = list(house.elevating.reviews._known.values())
    task = asyncio.ensure_future(house.elevating.reviews.keep_packing())
    try:
        for _ in range(1_000):
            if all(review.is_packed for review in waiting):
                return
            await asyncio.sleep(0.01)
        pytest.fail("no packet in ten seconds")
    finally:
        task.cancel()


async def close(house: House, identifier: str, who: str = "root/admin@R") -> dict[str, Any]:
    operators = Operators(house.issuer._audit, who)
    return await house.elevating.reviews.close(operators, house.asking(), identifier, note="looked at: justified")


async def test_at_its_end_a_packet_holds_every_record_and_the_log_s_own_key_signs_it(scene: House) -> None:
    identifier = await broken(scene)
    await scene.ask()
    scene.clock.moment += timedelta(hours=2)
    await packed(scene)
    folder = scene.elevating.folder / "reviews"
    sealed = json.loads((folder / f"{identifier}.json").read_bytes())
    packet = sealed["packet"]
    assert [json.loads(line)["event"] for line in packet["records"]] == [
        "alert", "break_glass", "intent", "issued", "review_sealed",
    ]  # fmt: skip
    assert (packet["request"]["user"], packet["request"]["reason"]) == ("alice@R", WANTED.reason)
    assert packet["complete"] is True
    assert list(packet["checkpoints"])
    (key,) = jwt.PyJWKSet.from_dict(jwks_of(signer_of(MASTER))).keys
    canonical = json.dumps(packet, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    header, _, signature = sealed["sig"].split(".")
    payload = base64.urlsafe_b64encode(canonical).rstrip(b"=").decode()
    assert jwt.PyJWS().decode(f"{header}.{payload}.{signature}", key=key, algorithms=["EdDSA"]) == canonical
    assert (folder / f"{identifier}.json").stat().st_mode & 0o777 == 0o600


async def test_a_restart_forgets_neither_the_open_box_nor_the_review(scene: House) -> None:
    identifier = await broken(scene)
    reviews = again(scene, scene.elevating.folder, scene.issuer._audit)
    await scene.ask()
    assert reviews.unclosed == 1
    scene.clock.moment += timedelta(hours=2)
    await packed(scene)
    reviews = again(scene, scene.elevating.folder, scene.issuer._audit)
    assert [(one["id"], one["state"]) for one in await _listed(scene)] == [(identifier, "waiting")]
    await close(scene, identifier)
    reviews = again(scene, scene.elevating.folder, scene.issuer._audit)
    assert (reviews.unclosed, (await _listed(scene))[0]["closed"]["by"]) == (0, "root/admin@R")


async def _listed(house: House) -> list[dict[str, Any]]:
    return await house.elevating.reviews.listing(Operators(house.issuer._audit, "root/admin@R"), house.asking())


@pytest.mark.parametrize("who", ["alice@R", "alice/admin@R"])
async def test_who_broke_the_glass_does_not_close_the_review(scene: House, who: str) -> None:
    identifier = await broken(scene)
    assert await refusal(BadRequest, close(scene, identifier)) == "review_running"
    scene.clock.moment += timedelta(hours=2)
    await packed(scene)
    assert await refusal(AccessDenied, close(scene, identifier, who)) == "own_review"
    assert scene.elevating.reviews.unclosed == 1
    await close(scene, identifier)
    assert await refusal(BadRequest, close(scene, identifier)) == "review_closed"
    assert await refusal(NotFound, close(scene, "0" * 32)) == "review_unknown"


async def test_instances_of_one_host_review_what_any_of_them_broke_once(scene: House) -> None:
    one, folder = scene.elevating, scene.elevating.folder
    other = again(scene, folder, scene.issuer._audit)
    scene.elevating = one
    identifier = await broken(scene)
    scene.clock.moment += timedelta(hours=2)
    await packed(scene)
    operators = Operators(scene.issuer._audit, "root/admin@R")
    assert [each["state"] for each in await other.listing(operators, scene.asking())] == ["waiting"]
    await other.close(operators, scene.asking(), identifier, note="seen")
    assert await refusal(BadRequest, close(scene, identifier)) == "review_closed"
    assert (one.reviews.unclosed, other.unclosed) == (0, 0)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"by": 1}'])
async def test_a_review_whose_end_cannot_be_read_waits_again_and_the_broker_starts(scene: House, damage: bytes) -> None:
    identifier = await broken(scene)
    scene.clock.moment += timedelta(hours=2)
    await packed(scene)
    (scene.elevating.folder / "reviews" / f"{identifier}.closed.json").write_bytes(damage)
    again(scene, scene.elevating.folder, scene.issuer._audit)
    assert [one["state"] for one in await _listed(scene)] == ["waiting"]


async def test_nobody_is_worn_out_by_alarms_of_one_who_breaks_glass_all_the_time(house: House) -> None:
    for _ in range(10):
        await broken(house)
    house.audit.events.clear()
    assert await refusal(BadRequest, broken(house)) == "too_many_broken"
    assert [event.kind for event in house.audit.events] == ["refused"]
    house.clock.moment += timedelta(hours=1)
    await broken(house)


async def test_a_file_that_is_not_ours_opens_nothing(scene: House) -> None:
    identifier = await broken(scene)
    folder = scene.elevating.folder / "reviews"
    (folder / f"{identifier}.broken").rename(folder / f"{'1' * 32}.broken")
    (folder / f"{'2' * 32}.broken").write_bytes(b"garbage\n")
    assert again(scene, scene.elevating.folder, scene.issuer._audit).unclosed == 0
    await scene.refused(ApprovalRequired)
