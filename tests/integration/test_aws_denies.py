"""What becomes of a deny at AWS when IAM is ill, full, slow or somebody else's, and when instances die or meet."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.core.errors import StsDenied
from broker.core.roles import LONGEST, RoleArn
from broker.issuing import deny as module
from broker.issuing.denied import Phase
from broker.revocation.deny import document, policy_name, stamp_of
from broker.revocation.ledger import EVERY_ROLE, Kind, Subject
from tests.fakes.denying import ALICE, ROOT, AheadClock, Instance, arn, target, until
from tests.fakes.iam_roles import ROOM, Fault, IamRoles

OURS = policy_name(ALICE)
OWN = '{"Version":"2012-10-17","Statement":[]}'
DEVELOPER = target("Developer")
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY", timedelta(milliseconds=50))
    monkeypatch.setattr(module, "_PAUSE", timedelta(milliseconds=200))


@pytest.fixture
def iam() -> Iterator[IamRoles]:
    with IamRoles({"Developer", "ReadOnly"}) as running:
        running.inline["Developer", "own"] = OWN
        yield running


@pytest.fixture
def one(tmp_path: Path, iam: IamRoles) -> Instance:
    return Instance(tmp_path, iam.url)


def before(iam: IamRoles, role: str = "Developer", name: str = OURS) -> str:
    condition = iam.documents(role)[name]["Statement"][0]["Condition"]
    return str(condition["DateLessThan"]["aws:TokenIssueTime"])


# ---- what IAM says ----


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("AccessDenied", "access_denied"),
        ("LimitExceeded", "no_room"),
        ("UnmodifiableEntity", "service_linked_role"),
    ],
)
async def test_what_does_not_pass_by_itself_is_told_at_once_recorded_once_and_tried_again(
    one: Instance, iam: IamRoles, kind: str, reason: str
) -> None:
    iam.faults["Developer"] = Fault(kind, 2)
    async with one.running():
        (outcome,) = await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        assert (outcome.done, outcome.reason) == (False, reason)
        assert one.records.said() == [("aws_deny_failed", reason)]
        await until(lambda: OURS in iam.documents("Developer"))
        await until(lambda: len(one.records.events) == 2)
    assert one.records.said()[1] == ("aws_denied", None)


@pytest.mark.parametrize("kind", ["Throttling", "ServiceFailure", "drop", "ExpiredToken"])
async def test_what_passes_is_waited_for_while_the_operator_waits(one: Instance, iam: IamRoles, kind: str) -> None:
    iam.faults["Developer"] = Fault(kind, 1)
    async with one.running():
        (outcome,) = await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
    assert outcome.done
    assert OURS in iam.documents("Developer")
    assert len(one.sts.walked) == (2 if kind == "ExpiredToken" else 1)


async def test_a_portal_that_answers_for_iam_denies_nothing(one: Instance, iam: IamRoles) -> None:
    iam.faults["Developer"] = Fault("html", 9)
    async with one.running():
        (outcome,) = await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        assert not outcome.done
        assert outcome.reason in ("malformed_answer", "refused")
    assert iam.number("PutRolePolicy") == 0


async def test_a_role_that_hangs_holds_up_neither_the_operator_nor_other_roles(
    one: Instance, iam: IamRoles, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert timedelta(seconds=5) >= module._EACH
    assert timedelta(seconds=6) > module._PATIENCE, "with what other instances take it is within the client's ten"
    monkeypatch.setattr(module, "_EACH", timedelta(milliseconds=700))
    monkeypatch.setattr(module, "_PATIENCE", timedelta(seconds=1))
    iam.faults["Developer"] = Fault("hang", 9)
    started = time.monotonic()
    async with one.running():
        hanging, other = await one.denies.deny(ALICE, [DEVELOPER, target("ReadOnly")], by=ROOT)
    assert time.monotonic() - started < 2
    assert (hanging.done, hanging.reason) == (False, "timeout")
    assert other.done


async def test_a_role_that_is_gone_has_no_sessions_to_deny(one: Instance, iam: IamRoles) -> None:
    async with one.running():
        (outcome,) = await one.denies.deny(ALICE, [target("Gone")], by=ROOT)
        assert (outcome.done, outcome.reason) == (True, "no_such_role")
        (outcome,) = await one.denies.lift(ALICE, by=ROOT)
        assert outcome.done
    assert one.denies.number == 0


async def test_without_a_session_of_its_own_role_nothing_is_denied_and_the_hop_is_named(one: Instance) -> None:
    one.sts.error = StsDenied(reason="hop1_access_denied")
    async with one.running():
        (outcome,) = await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
    assert (outcome.done, outcome.reason) == (False, "hop1_access_denied")
    (call,) = one.sts.walked[0]
    assert (call.arn.text, call.session_name) == (arn("Deny").text, "ZeroTrustRevocation")


async def test_a_role_without_room_says_so_and_nobodys_policy_is_touched(one: Instance, iam: IamRoles) -> None:
    iam.inline["Developer", "own"] = json.dumps({"Sid": "x" * (ROOM - 100)})
    held = dict(iam.inline)
    async with one.running():
        (outcome,) = await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
    assert outcome.reason == "no_room"
    assert iam.inline == held


async def test_fifteen_people_with_the_longest_names_find_room_at_one_role(one: Instance, iam: IamRoles) -> None:
    """What docs/revocation.md says."""
    async with one.running():
        for number in range(15):
            (outcome,) = await one.denies.deny(f"{'a' * 61}{number:02}@{'R' * 60}", [DEVELOPER], by=ROOT)
            assert outcome.done


# ---- what is put there ----


async def test_the_moment_is_that_of_aws_and_not_of_a_clock_that_is_behind(one: Instance, iam: IamRoles) -> None:
    iam.ahead = timedelta(minutes=4)
    async with one.running():
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
    moment = datetime.fromisoformat(before(iam))
    assert timedelta(minutes=3, seconds=50) < moment - datetime.now(UTC) < timedelta(minutes=4, seconds=2)


async def test_revoked_again_the_moment_moves_on(one: Instance, iam: IamRoles) -> None:
    async with one.running():
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        first = before(iam)
        await asyncio.sleep(1.1)
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
    assert before(iam) > first
    assert iam.number("PutRolePolicy") == 2


async def test_twenty_roles_are_asked_a_few_at_a_time(one: Instance, iam: IamRoles) -> None:
    names = [f"Role{number}" for number in range(20)]
    iam.names.update(names)
    async with one.running():
        outcomes = await one.denies.deny(ALICE, map(target, names), by=ROOT)
    assert all(outcome.done for outcome in outcomes)
    assert 1 < iam.busiest <= 8
    assert len(one.sts.walked) == 1, "one session of the account does for all"


async def test_two_people_at_one_role_are_two_policies_and_neither_undoes_the_other(
    one: Instance, iam: IamRoles
) -> None:
    async with one.running():
        await asyncio.gather(*(one.denies.deny(f"p{number}@R", [DEVELOPER], by=ROOT) for number in range(6)))
        await one.denies.lift("p3@R", by=ROOT)
    left = {policy_name(f"p{number}@R") for number in range(6) if number != 3}
    assert set(iam.documents("Developer")) == left | {"own"}


# ---- how it goes again ----


@pytest.mark.parametrize(("longest", "hours"), [(HOUR, 1), (LONGEST, 12)])
async def test_it_goes_when_the_longest_session_has_ended_and_not_before(
    one: Instance, iam: IamRoles, longest: timedelta, hours: int
) -> None:
    async with one.running():
        await one.denies.deny(ALICE, [target("Developer", longest)], by=ROOT)
        one.clock.ahead = timedelta(hours=hours, minutes=4, seconds=50)
        await asyncio.sleep(0.3)
        assert OURS in iam.documents("Developer")
        one.clock.ahead = timedelta(hours=hours, minutes=5, seconds=10)
        await until(lambda: OURS not in iam.documents("Developer"))
        await until(lambda: one.denies.number == 0)
    assert "own" in iam.documents("Developer")
    assert one.records.said() == [("aws_denied", None), ("aws_deny_removed", None)]


async def test_while_iam_is_down_it_is_overdue_and_readyz_says_so_and_it_goes_when_iam_is_back(
    one: Instance, iam: IamRoles
) -> None:
    async with one.running():
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        assert (await one.denies.ping(), one.denies.late) == (None, 0)
        iam.faults["Developer"] = Fault("ServiceFailure", 2)
        one.clock.ahead = timedelta(hours=1, minutes=11)
        await until(lambda: one.denies.late == 1)
        await until(lambda: ("aws_deny_failed", "broken") in one.records.said())
        assert await one.denies.ping() == "denies at AWS overdue to go: 1 (broken)"
        await until(lambda: OURS not in iam.documents("Developer"))
        await until(lambda: one.denies.late == 0)
        assert await one.denies.ping() is None


async def test_what_is_not_denied_in_time_shows_in_readyz(one: Instance, iam: IamRoles) -> None:
    iam.faults["Developer"] = Fault("AccessDenied", 99)
    async with one.running():
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        one.clock.ahead = timedelta(seconds=31)
        assert await one.denies.ping() == "AWS roles that do not deny yet: 1 (access_denied)"


async def test_an_account_that_never_answers_again_is_given_up_after_a_week(one: Instance, iam: IamRoles) -> None:
    async with one.running():
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        one.sts.error = StsDenied(reason="hop1_access_denied")
        one.roles._sessions.clear()
        one.clock.ahead = timedelta(days=7, hours=2)
        await until(lambda: one.denies.number == 0)
    assert one.records.said()[-1] == ("aws_deny_failed", "given_up")


async def test_a_restarted_broker_takes_away_what_another_life_put_there(
    one: Instance, iam: IamRoles, tmp_path: Path
) -> None:
    async with one.running():
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
    clock = AheadClock()
    clock.ahead = 2 * HOUR
    again = Instance(tmp_path, iam.url, clock=clock)
    async with again.running():
        await until(lambda: OURS not in iam.documents("Developer"))


# ---- several instances ----


async def test_of_two_instances_one_does_it_and_the_other_sees_that_it_is_done(
    one: Instance, iam: IamRoles, tmp_path: Path
) -> None:
    two = Instance(tmp_path, iam.url)
    async with one.running(), two.running():
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        await until(lambda: two.denies.number == 1)
        (entry,) = two.epochs.denies
        await until(lambda: two.denies._jobs)
        two.clock.ahead = timedelta(minutes=3)
        await until(lambda: two.denies.outcome(entry).done)
        await one.denies.lift(ALICE, by=ROOT)
        await until(lambda: two.denies.number == 0)
    assert (iam.number("PutRolePolicy"), iam.number("DeleteRolePolicy")) == (1, 1)
    assert two.records.events == []


async def test_what_one_began_and_died_of_another_finishes(
    one: Instance, iam: IamRoles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is killed when it has written down what is wanted, and before IAM heard of it."""
    monkeypatch.setattr(module, "_PATIENCE", timedelta(milliseconds=300))
    two = Instance(tmp_path, iam.url)
    iam.faults["Developer"] = Fault("hang", 1)
    async with two.running():
        async with one.running():
            (outcome,) = await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
            assert not outcome.done
        await until(lambda: two.denies._jobs)
        assert OURS not in iam.documents("Developer")
        two.clock.ahead = timedelta(minutes=3)
        await until(lambda: OURS in iam.documents("Developer"))


async def test_who_takes_an_old_one_away_leaves_a_newer_one_that_it_has_not_heard_of(
    one: Instance, iam: IamRoles
) -> None:
    async with one.running():
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        (entry,) = one.epochs.denies
        newer = document(ALICE, stamp=entry.stamp + 5_000, before=datetime(2027, 1, 1, tzinfo=UTC))
        iam.inline["Developer", OURS] = json.dumps(newer)
        one.clock.ahead = 2 * HOUR
        await until(lambda: one.denies.number == 0)
    assert iam.documents("Developer")[OURS] == newer
    gone = next(entry for entry in one.epochs.entries if entry.subject.kind is Kind.AWS_DENY)
    assert (gone.held, gone.stamp) == (False, entry.stamp + 1), "it loses to the newer one, whenever that is heard of"


async def test_who_was_slow_to_take_an_old_one_away_and_took_a_newer_one_puts_it_back(
    one: Instance, iam: IamRoles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had looked before the newer one was there, and IAM deletes by name."""
    async with one.running():
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
    one.clock.ahead = 2 * HOUR
    slow, quick = (Instance(tmp_path, iam.url, clock=one.clock) for _ in range(2))
    delete, looked, go_on = slow.roles.delete, asyncio.Event(), asyncio.Event()

    async def delayed(role: RoleArn, name: str) -> None:
        looked.set()
        await go_on.wait()
        await delete(role, name)

    monkeypatch.setattr(slow.roles, "delete", delayed)
    async with slow.running():
        await asyncio.wait_for(looked.wait(), 8)
        async with quick.running():
            await until(lambda: quick.denies.number == 0)
            await quick.denies.deny(ALICE, [DEVELOPER], by=ROOT)
            (newer,) = quick.epochs.denies
            await until(lambda: [job.entry for job in slow.denies._jobs.values()] == [newer])
            go_on.set()
            await until(lambda: iam.number("DeleteRolePolicy") == 2)
            await until(lambda: OURS in iam.documents("Developer"))
    assert stamp_of(iam.documents("Developer")[OURS], ALICE) == newer.stamp


@pytest.mark.parametrize("is_lifted", [True, False])
async def test_who_was_slow_to_put_an_old_one_undoes_neither_what_was_lifted_nor_a_newer_one(
    iam: IamRoles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_lifted: bool
) -> None:
    """It had looked before another instance lifted it, or put a newer one, and IAM puts by name."""
    monkeypatch.setattr(module, "_PATIENCE", timedelta(milliseconds=300))
    slow, quick = (Instance(tmp_path, iam.url) for _ in range(2))
    put, looked, go_on = slow.roles.put, asyncio.Event(), asyncio.Event()

    async def delayed(role: RoleArn, name: str, text: Mapping[str, Any]) -> None:
        looked.set()
        await go_on.wait()
        await put(role, name, text)

    monkeypatch.setattr(slow.roles, "put", delayed)
    async with slow.running(), quick.running():
        await slow.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        await asyncio.wait_for(looked.wait(), 8)
        await until(lambda: quick.denies.number == 1)
        if is_lifted:
            await quick.denies.lift(ALICE, by=ROOT)
            await until(lambda: slow.denies.number == 0)
        else:
            await quick.denies.deny(ALICE, [DEVELOPER], by=ROOT)
            await until(lambda: slow.epochs.denies == quick.epochs.denies)
        wanted = {entry.stamp for entry in quick.epochs.denies}
        go_on.set()
        await until(lambda: iam.number("PutRolePolicy") == 1 + (not is_lifted))
        await until(lambda: {stamp_of(text, ALICE) for text in iam.documents("Developer").values()} == {None} | wanted)
        await until(lambda: {entry.stamp for entry in slow.epochs.denies} == wanted)
        assert {entry.stamp for entry in quick.epochs.denies} == wanted


async def test_a_deny_that_comes_late_does_not_mean_sessions_of_after_a_restore(one: Instance, iam: IamRoles) -> None:
    """IAM was down, the user was restored and has new sessions; AWS's clock is ahead of ours."""
    iam.ahead = timedelta(minutes=2)
    iam.faults["Developer"] = Fault("AccessDenied", 1_000)
    held = Subject(Kind.CREDENTIALS, ALICE, EVERY_ROLE)
    async with one.running():
        await one.epochs.enter([held], by=ROOT)
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        await one.epochs.enter([held], by=ROOT, held=False)
        restored = datetime.now(UTC) + iam.ahead
        one.clock.ahead = timedelta(minutes=10)
        iam.ahead += timedelta(minutes=10)
        iam.faults.clear()
        await until(lambda: OURS in iam.documents("Developer"))
    late = datetime.fromisoformat(before(iam)) - restored
    assert timedelta(seconds=-2) < late < timedelta(seconds=3)


async def test_an_old_entry_that_comes_back_takes_nothing_away_and_is_settled_again(
    one: Instance, iam: IamRoles
) -> None:
    """As after a restored dump of Redis."""
    async with one.running():
        await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        (old,) = one.epochs.denies
        await one.denies.lift(ALICE, by=ROOT)
        one.epochs._take([old])
        await asyncio.sleep(0.1)
        assert one.denies.number == 0
        one.clock.ahead = timedelta(days=3)  # others have forgotten by now that it was taken away
        await until(lambda: not one.epochs.entries)
        one.epochs._take([old])
        assert one.denies.number == 1
        await until(lambda: one.denies._jobs)
        one.clock.ahead += timedelta(minutes=1)
        await until(lambda: one.denies.number == 0)
    assert set(iam.documents("Developer")) == {"own"}


async def test_a_foreign_policy_of_our_name_outlives_everything(one: Instance, iam: IamRoles) -> None:
    iam.inline["Developer", OURS] = OWN
    async with one.running():
        (outcome,) = await one.denies.deny(ALICE, [DEVELOPER], by=ROOT)
        assert outcome.reason == "another_policy"
        (seen,) = await one.denies.look(ALICE, [DEVELOPER])
        assert (seen.phase, seen.reason) == (Phase.DENY, "another_policy")
        (outcome,) = await one.denies.lift(ALICE, by=ROOT)
        assert outcome.done
    assert iam.documents("Developer")[OURS] == json.loads(OWN)
