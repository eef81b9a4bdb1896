"""The way of somebody who is revoked: before it, in the middle of it, and after; and what an operator is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from broker.audit.event import Event
from broker.authn.dpop import ProofGuard
from broker.authn.signature import Signatures
from broker.authz.admission import Admission
from broker.authz.operators import Operators
from broker.core.errors import AccessDenied, AuditUnavailable, AuthFailed, BadRequest, Revoked
from broker.core.identity import UnverifiedRequest
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.core.rule import Requirements
from broker.issuing.ask import Ask
from broker.issuing.deny import Denies
from broker.issuing.operators import OperatorsDoor
from broker.issuing.revoke import Revocations
from broker.revocation.ledger import EVERY_ROLE, Kind, Subject
from tests.unit.issuing.test_issue import House, token_for

ROOT = Principal.parse("root/admin@R")
HOLD = Subject(Kind.CREDENTIALS, "alice@R", EVERY_ROLE)
HOLD_ROLE = Subject(Kind.CREDENTIALS, "alice@R", "developer")
SESSIONS = Subject(Kind.USER, "alice@R")


class Office:
    """One operator, and the real bracket around what he does."""

    def __init__(self, house: House) -> None:
        self.house = house

    @asynccontextmanager
    async def attempt(self, ask: Ask, *, action: str, resource: str) -> AsyncIterator[Event]:
        event = Event(action=action, resource=resource, request_id=ask.request_id, principal=ROOT)
        async with self.house.audit.attempt(event):
            yield event

    async def intend(self, ask: Ask, event: Event) -> None:
        await self.house.issuer._entrance.intend(ask, event)


@pytest.fixture
async def house() -> House:
    return House()


def denies_of(house: House) -> Denies:
    """Of a broker that may not tell AWS anything."""
    return Denies(roles=None, epochs=house.epochs, audit=house.audit, clock=house.clock, chance=lambda: 0.5)


@pytest.fixture
def revocations(house: House) -> Revocations:
    return Revocations(
        operators=Office(house),
        epochs=house.epochs,
        denies=denies_of(house),
        policies=house.issuer._policies,
        realms=["R"],
        clock=house.clock,
    )


def ask(house: House) -> Ask:
    return house.asking()


async def cookie_of(house: House) -> str:
    standing = await house.overviews.of(house.asking(authorization=token_for("alice@R")))
    assert standing.cookie is not None
    return standing.cookie.value.reveal()


# ---- the way ----


@pytest.mark.parametrize("subject", [HOLD, HOLD_ROLE], ids=["every role", "this role"])
async def test_whose_credentials_are_revoked_is_refused_before_sts_and_on_record(
    house: House, subject: Subject
) -> None:
    await house.ask()
    await house.epochs.enter([subject], by="root/admin@R")
    house.diary.clear()
    error = await house.refused(Revoked)
    assert error.code == "revoked"
    assert house.diary == ["refused"]
    assert house.audit.events[-1].reason == "revoked"
    await house.epochs.enter([subject], by="root/admin@R", held=False)
    await house.ask()


async def test_a_hold_tells_nobody_of_roles_that_are_not_theirs(house: House) -> None:
    await house.epochs.enter([Subject(Kind.CREDENTIALS, "mallory@R", "developer")], by="root/admin@R")
    await house.refused(AccessDenied, who="mallory@R")


async def test_a_hold_shuts_every_door_and_not_only_that_of_credentials(house: House) -> None:
    cookie = await cookie_of(house)
    await house.epochs.enter([HOLD], by="root/admin@R")
    with pytest.raises(Revoked):
        await house.front_desk.end_session(house.asking(cookie=cookie))
    asking = house.asking(authorization=token_for("alice@R"))
    with pytest.raises(Revoked):
        await house.front_desk.open_session(asking)
    with pytest.raises(Revoked):
        await house.front_desk.standing(house.asking(authorization=token_for("alice@R")), action="whoami")


@pytest.mark.parametrize(
    ("subject", "error"),
    [(SESSIONS, AuthFailed), (Subject(Kind.EVERYBODY), AuthFailed), (HOLD, Revoked), (HOLD_ROLE, Revoked)],
)
async def test_who_is_revoked_while_sts_works_gets_nothing_of_it(
    house: House, subject: Subject, error: type[Exception]
) -> None:
    house.sts.gate = asyncio.Event()
    under_way = asyncio.ensure_future(house.ask())
    await house.sts.asked.wait()
    await house.epochs.enter([subject], by="root/admin@R")
    house.sts.gate.set()
    with pytest.raises(error):
        await under_way
    last = house.audit.events[-1]
    assert (last.kind, last.success, last.access_key_id) == ("refused", False, None)


async def test_somebody_elses_revocation_in_the_middle_of_it_is_no_matter(house: House) -> None:
    house.sts.gate = asyncio.Event()
    under_way = asyncio.ensure_future(house.ask())
    await house.sts.asked.wait()
    await house.epochs.enter([Subject(Kind.USER, "bob@R"), Subject(Kind.CREDENTIALS, "bob@R", "*")], by="x")
    house.sts.gate.set()
    assert (await under_way).access_key_id


async def test_when_sessions_are_revoked_a_new_ticket_works_at_once(house: House) -> None:
    cookie = await cookie_of(house)
    await house.epochs.enter([SESSIONS], by="root/admin@R")
    with pytest.raises(AuthFailed) as caught:
        await house.issuer.issue(house.asking(cookie=cookie), role="developer")
    assert caught.value.reason == "session_ended"
    await house.ask()


async def test_one_session_ends_alone_for_whoever_has_a_copy(house: House) -> None:
    ended, other = await cookie_of(house), await cookie_of(house)
    await house.front_desk.end_session(house.asking(cookie=ended))
    assert house.audit.events[-1].kind == "session_ended"
    for action in (
        house.issuer.issue(house.asking(cookie=ended), role="developer"),
        house.front_desk.end_session(house.asking(cookie=ended)),
    ):
        with pytest.raises(AuthFailed) as caught:
            await action
        assert caught.value.reason == "session_ended"
    await house.issuer.issue(house.asking(cookie=other), role="developer")


# ---- what an operator does ----


async def test_each_thing_an_operator_does_is_on_record_with_who_and_about_whom(
    house: House, revocations: Revocations
) -> None:
    await revocations.revoke_sessions(ask(house), user="alice@R")
    await revocations.revoke_sessions(ask(house), everybody=True)
    await revocations.revoke_credentials(ask(house), user="alice@R")
    await revocations.restore(ask(house), user="alice@R")
    await revocations.listing(ask(house))
    kept = [(event.kind, event.action, event.resource, str(event.principal)) for event in house.audit.events]
    who = "root/admin@R"
    assert kept == [
        ("access_revoked", "revoke_sessions", "alice@R", who),
        ("access_revoked", "revoke_sessions", "*", who),
        ("access_revoked", "revoke_credentials", "alice@R", who),
        ("intent", "restore", "alice@R", who),
        ("access_restored", "restore", "alice@R", who),
        ("shown", "list_revocations", "*", who),
    ]


async def test_the_receipt_says_what_stops_and_that_aws_goes_on_and_until_when(
    house: House, revocations: Revocations
) -> None:
    receipt = await revocations.revoke_credentials(ask(house), user="alice@R")
    assert "sessions" in receipt.stopped
    assert receipt.aws_until == house.clock.now() + timedelta(hours=1)
    assert "until they expire" in receipt.runs_on[0]
    assert "`zerotrust-admin revoke-credentials --user alice@R --aws` denies them" in receipt.runs_on[0]
    assert receipt.told
    assert receipt.not_heard == ()
    assert receipt.members()["aws_until"] == "2026-01-31T13:00:00Z"


async def test_a_slip_of_case_is_answered_with_who_may_have_been_meant(house: House, revocations: Revocations) -> None:
    receipt = await revocations.revoke_credentials(ask(house), user="Alice@R")
    assert receipt.runs_on[1:] == ("alice@R, who is somebody else: the rules name them so",)
    await house.ask()
    assert (await revocations.revoke_credentials(ask(house), user="alice@R")).runs_on[1:] == ()
    assert (await revocations.revoke_credentials(ask(house), user="bob@R")).runs_on[1:] == ()


async def test_a_dry_run_says_the_same_and_does_nothing(house: House, revocations: Revocations) -> None:
    dry = await revocations.revoke_credentials(ask(house), user="alice@R", dry_run=True)
    assert dry.dry_run
    assert house.audit.events[-1].kind == "shown"
    await house.ask()
    assert (await revocations.listing(ask(house))) == []
    wet = await revocations.revoke_credentials(ask(house), user="alice@R")
    assert (wet.stopped, wet.runs_on) == (dry.stopped, dry.runs_on)


async def test_who_is_restored_and_still_held_by_the_watch_is_said_to_be_with_the_command_that_lifts_it(
    house: House, revocations: Revocations
) -> None:
    await house.epochs.enter([HOLD], by="root/admin@R")
    await house.epochs.enter([Subject(Kind.SUSPICION, "alice@R", "hold")], by="watch: reuse_of_revoked")
    (said,) = (await revocations.restore(ask(house), user="alice@R")).runs_on
    assert said == (
        "the watch still keeps something from alice@R (hold); `zerotrust-admin alerts clear --user alice@R` lifts that"
    )
    await house.epochs.enter([HOLD], by="root/admin@R")
    await house.epochs.enter([Subject(Kind.SUSPICION, "alice@R", "hold")], by="root/admin@R", held=False)
    assert (await revocations.restore(ask(house), user="alice@R")).runs_on == ()


async def test_the_list_says_what_is_held_and_what_was_restored(house: House, revocations: Revocations) -> None:
    await revocations.revoke_credentials(ask(house), user="alice@R", role="developer")
    await revocations.revoke_sessions(ask(house), everybody=True)
    listed = [(found.user, found.role, found.state, found.by) for found in await revocations.listing(ask(house))]
    assert sorted(listed, key=str) == [
        ("alice@R", "developer", "held", "root/admin@R"),
        (None, None, "ended", "root/admin@R"),
    ]
    await revocations.restore(ask(house), user="alice@R")
    states = {found.user: found.state for found in await revocations.listing(ask(house))}
    assert states == {"alice@R": "restored", None: "ended"}


async def test_one_roles_hold_leaves_the_sessions_alone(house: House, revocations: Revocations) -> None:
    cookie = await cookie_of(house)
    receipt = await revocations.revoke_credentials(ask(house), user="alice@R", role="developer")
    assert "sessions" not in receipt.stopped
    await house.front_desk.standing(house.asking(cookie=cookie), action="whoami")
    with pytest.raises(Revoked):
        await house.issuer.issue(house.asking(cookie=cookie), role="developer")


@pytest.mark.parametrize(
    "user", ["alice", "alice@r", "alice@EXAMPLE.COM", "@R", "alice@", "*@R", "alice@R@R", "", "alice\\", "alice@R "]
)
async def test_whoever_is_mistyped_is_an_error_and_no_silence(
    house: House, revocations: Revocations, user: str
) -> None:
    for action in (
        revocations.revoke_sessions(ask(house), user=user),
        revocations.revoke_credentials(ask(house), user=user),
        revocations.restore(ask(house), user=user),
    ):
        with pytest.raises(BadRequest) as caught:
            await action
        assert caught.value.hint
    assert house.epochs.entries == []


async def test_whom_is_said_exactly_once_and_the_role_is_one(house: House, revocations: Revocations) -> None:
    for action in (
        revocations.revoke_sessions(ask(house)),
        revocations.revoke_sessions(ask(house), user="alice@R", everybody=True),
        revocations.revoke_credentials(ask(house), user="alice@R", role="devloper"),
        revocations.restore(ask(house), user="alice@R"),
    ):
        with pytest.raises(BadRequest):
            await action
    assert house.epochs.entries == []


async def test_no_name_type_escapes(house: House, revocations: Revocations) -> None:
    await revocations.revoke_credentials(ask(house), user="alice@R")
    for name_type in (1, 2, 11):
        with pytest.raises(Revoked):
            house.epochs.require(Principal.parse("alice@R", name_type=name_type))  # type: ignore[arg-type]


class RevokedMeanwhile(Signatures):
    """Looks at a signature for as long as it takes another operator to revoke the sender."""

    def __init__(self, house: House) -> None:
        super().__init__(keys=[], required=False, proofs=ProofGuard(shared=None, clock=house.clock), clock=house.clock)
        self.house = house

    async def check(self, request: UnverifiedRequest | None, *, sender: Principal) -> str | None:
        await self.house.epochs.enter([HOLD], by=str(ROOT))
        return await super().check(request, sender=sender)


def own_revocations(house: House, signatures: Signatures) -> Revocations:
    """With alice as the only operator, and the door that she comes through."""
    entrance = house.issuer._entrance
    alice, policies = PrincipalPattern.parse("alice@R"), house.issuer._policies
    policies.admission = Admission(operators=Operators(patterns=[alice], require=Requirements()))
    door = OperatorsDoor(
        entrance=entrance,
        policies=policies,
        signatures=signatures,
        passes=entrance._passes,
        clock=house.clock,
    )
    return Revocations(
        operators=door,
        epochs=house.epochs,
        denies=denies_of(house),
        policies=policies,
        realms=["R"],
        clock=house.clock,
    )


async def test_an_operator_who_is_revoked_while_they_ask_does_not_restore_themselves(house: House) -> None:
    own = own_revocations(house, RevokedMeanwhile(house))
    with pytest.raises(Revoked):
        await own.restore(house.asking(authorization=token_for("alice@R")), user="alice@R")
    assert house.epochs.entries[0].held


async def test_an_operator_who_is_revoked_while_the_record_of_it_is_written_restores_nobody(house: House) -> None:
    own = own_revocations(house, Signatures(keys=[], required=False, proofs=None, clock=house.clock))  # type: ignore[arg-type]
    await house.epochs.enter([HOLD_ROLE], by="x")
    record = house.audit.record

    async def meanwhile(event: Event) -> None:
        await record(event)
        if event.kind == "intent":
            await house.epochs.enter([HOLD], by=str(ROOT))

    house.audit.record = meanwhile  # type: ignore[method-assign]
    with pytest.raises(Revoked):
        await own.restore(house.asking(authorization=token_for("alice@R")), user="alice@R")
    assert all(entry.held for entry in house.epochs.entries)


async def test_a_revocation_without_a_record_is_in_force_and_says_so(house: House, revocations: Revocations) -> None:
    house.audit.broken = lambda event: event.kind == "access_revoked"
    with pytest.raises(AuditUnavailable) as caught:
        await revocations.revoke_credentials(ask(house), user="alice@R")
    assert "in force all the same" in str(caught.value.hint)
    await house.refused(Revoked)


async def test_nothing_is_given_back_without_a_record_of_before(house: House, revocations: Revocations) -> None:
    await revocations.revoke_credentials(ask(house), user="alice@R")
    house.audit.broken = lambda event: event.kind == "intent"
    with pytest.raises(AuditUnavailable) as caught:
        await revocations.restore(ask(house), user="alice@R")
    assert caught.value.hint is None
    house.audit.broken = lambda _: False
    await house.refused(Revoked)
    await revocations.restore(ask(house), user="alice@R")
    assert [event.kind for event in house.audit.events[-2:]] == ["intent", "access_restored"]
    assert house.audit.events[-2].details["about"] == "alice@R"


async def test_a_deny_at_aws_that_nobody_may_ask_for_leaves_everything_as_it_is(
    house: House, revocations: Revocations
) -> None:
    for action in (
        revocations.revoke_credentials(ask(house), user="alice@R", aws=True),
        revocations.revoke_credentials(ask(house), user="alice@R", aws=True, dry_run=True),
        revocations.restore(ask(house), user="alice@R", aws=True),
    ):
        with pytest.raises(BadRequest) as caught:
            await action
        assert "set aws.revocation" in str(caught.value.hint)
    assert house.audit.events[-1].reason == "aws_revocation_not_configured"
    assert house.epochs.entries == []
    await house.ask()
