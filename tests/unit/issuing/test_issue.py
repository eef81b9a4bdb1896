"""The way itself: in which order its steps act, and that no failure of one becomes an allow."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from broker.audit.event import Event
from broker.audit.log import AuditLog
from broker.authn.acceptor import Identity
from broker.authz.policy import Policy, Rule
from broker.cache.sealed import CredentialCache
from broker.cache.store import MemoryStore
from broker.core.credentials import Credentials
from broker.core.errors import (
    AccessDenied,
    AuditUnavailable,
    AuthFailed,
    AuthRequired,
    BrokerError,
    StsRejected,
    StsTimeout,
    StsUnavailable,
)
from broker.core.grant import Grant
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.secret import Secret
from broker.issuing.issue import Ask, Issuer
from broker.keys.envelope import Envelope

HOUR = timedelta(hours=1)
ARN = RoleArn.parse("arn:aws:iam::111122223333:role/Developer")
ROLE = Role(name=RoleName("developer"), chain=(Hop(arn=ARN, external_id="x-1"),), duration=HOUR)


class MovedClock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def boottime(self) -> float:
        return self.moment.timestamp()


class Names:
    """An authenticator that believes whatever name a token says."""

    def __init__(self, clock: MovedClock) -> None:
        self._clock = clock

    def accept(self, token: bytes) -> Identity:
        if token == b"broken":
            raise AuthFailed(reason="token_unusable")
        ends = self._clock.now() + timedelta(hours=10)
        return Identity(principal=Principal.parse(token.decode()), ticket_end=ends, mutual_token=b"proof")


class Sts:
    """Gives a new set each time, or fails, when the test says so."""

    def __init__(self, clock: MovedClock, diary: list[str]) -> None:
        self._clock = clock
        self._diary = diary
        self.calls = 0
        self.error: BrokerError | None = None
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def assume(self, grant: Grant) -> Credentials:
        self.calls += 1
        self._diary.append("sts")
        self.asked.set()
        number = self.calls
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Credentials(
            access_key_id=f"ASIA{number:016}",
            secret_access_key=Secret("s"),
            session_token=Secret("t"),
            expiration=self._clock.now() + grant.lifetime,
            account=ARN.account,
            role_arn=ARN.text,
        )


class Diary(AuditLog):
    """The real bracket around an attempt, over a list in the place of a disk."""

    def __init__(self, diary: list[str]) -> None:
        self._diary = diary
        self.events: list[Event] = []
        self.broken: Callable[[Event], bool] = lambda _: False

    async def record(self, event: Event) -> None:
        if self.broken(event):
            raise AuditUnavailable("no disk")
        self._diary.append(event.kind.value)
        self.events.append(event)


class House:
    def __init__(self) -> None:
        self.clock = MovedClock()
        self.diary: list[str] = []
        self.sts = Sts(self.clock, self.diary)
        self.audit = Diary(self.diary)
        rule = Rule("engineers", (PrincipalPattern.parse("alice@R"),), (), frozenset({ROLE.name}))
        self.issuer = Issuer(
            authenticator=cast("Any", Names(self.clock)),
            policy=Policy(roles={ROLE.name: ROLE}, rules=[rule]),
            cache=CredentialCache(
                store=MemoryStore(clock=self.clock),
                envelope=Envelope(keys=[b"k" * 32]),
                name_key=b"n" * 32,
                clock=self.clock,
            ),
            sts=cast("Any", self.sts),
            audit=self.audit,
            clock=self.clock,
        )

    async def ask(self, who: str | None = "alice@R", role: str = "developer") -> Credentials:
        token = None if who is None else "Negotiate " + base64.b64encode(who.encode()).decode()
        ask = Ask(authorization=token, request_id="r-1", source_ip="127.0.0.1", address=None)
        return await self.issuer.issue(ask, role=role)

    async def refused(self, error: type[BrokerError], **asked: Any) -> BrokerError:
        with pytest.raises(error) as caught:
            await self.ask(**asked)
        return caught.value


@pytest.fixture
async def house() -> House:
    return House()


async def test_the_intent_is_recorded_before_sts_and_the_outcome_before_the_answer(house: House) -> None:
    credentials = await house.ask()
    assert house.diary == ["intent", "sts", "issued"]
    intent, issued = house.audit.events
    assert (intent.access_key_id, intent.details) == (None, {"rule": "engineers"})
    assert (issued.access_key_id, issued.success) == (credentials.access_key_id, True)


async def test_a_hit_is_recorded_too_and_needs_no_intent(house: House) -> None:
    first = await house.ask()
    house.diary.clear()
    assert await house.ask() == first
    assert house.diary == ["issued"]
    assert house.audit.events[-1].origin == "cache"


async def test_without_a_recorded_intent_sts_is_never_asked(house: House) -> None:
    house.audit.broken = lambda event: event.kind == "intent"
    await house.refused(AuditUnavailable)
    assert house.sts.calls == 0


async def test_without_a_recorded_outcome_nothing_is_handed_out(house: House) -> None:
    await house.ask()
    house.audit.broken = lambda event: event.kind == "issued"
    await house.refused(AuditUnavailable)


@pytest.mark.parametrize(
    ("asked", "error", "reason"),
    [
        ({"who": "broken"}, AuthFailed, "token_unusable"),
        ({"who": "mallory@R"}, AccessDenied, "no_rule"),
        ({"role": "no-such-role"}, AccessDenied, "no_rule"),
        ({"role": "../developer"}, AccessDenied, "role_malformed"),
        ({"role": "developer\n"}, AccessDenied, "role_malformed"),
    ],
)
async def test_a_refusal_is_recorded_with_its_reason_and_reaches_neither_cache_nor_sts(
    house: House, asked: dict[str, str], error: type[BrokerError], reason: str
) -> None:
    await house.ask()
    house.diary.clear()
    await house.refused(error, **asked)
    assert house.diary == ["refused"]
    last = house.audit.events[-1]
    assert (last.success, last.reason, last.access_key_id) == (False, reason, None)
    assert (last.role or "").isprintable()


async def test_a_refusal_that_cannot_be_recorded_is_still_one(house: House) -> None:
    house.audit.broken = lambda _: True
    await house.refused(AuditUnavailable, who="mallory@R")


async def test_who_shows_no_ticket_is_asked_for_one_and_writes_nothing(house: House) -> None:
    await house.refused(AuthRequired, who=None)
    assert house.diary == []


@pytest.mark.parametrize("error", [StsRejected, StsUnavailable, StsTimeout])
async def test_when_sts_fails_nothing_is_kept_and_the_next_one_asks_anew(
    house: House, error: type[BrokerError]
) -> None:
    house.sts.error = error(reason="because")
    await house.refused(error)
    assert house.audit.events[-1].reason == "because"
    house.sts.error = None
    assert (await house.ask()).access_key_id.endswith("2")


async def test_two_who_wait_for_one_fetch_have_a_record_each(house: House) -> None:
    house.sts.gate = asyncio.Event()
    waiting = [asyncio.ensure_future(house.ask()) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    house.sts.gate.set()
    first, second = await asyncio.gather(*waiting)
    assert first == second
    assert house.diary.count("issued") == 2
    assert [event.origin for event in house.audit.events[1:]] == ["sts", "cache"]
    assert house.sts.calls == 1


async def test_a_client_that_goes_away_is_recorded_and_its_fetch_still_serves_the_next(house: House) -> None:
    house.sts.gate = asyncio.Event()
    gone = asyncio.ensure_future(house.ask())
    await house.sts.asked.wait()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert house.audit.events[-1].reason == "cancelled"
    house.sts.gate.set()
    await house.issuer.drain()
    await house.ask()
    assert house.sts.calls == 1


# ---- renewal ----


async def test_with_twenty_minutes_left_the_old_set_is_given_at_once_and_the_next_has_the_new_one(
    house: House,
) -> None:
    old = await house.ask()
    house.clock.moment += timedelta(minutes=40)
    house.sts.gate = asyncio.Event()
    assert await asyncio.wait_for(house.ask(), 1) == old, "nobody waits for a renewal"
    assert await asyncio.wait_for(house.ask(), 1) == old
    house.sts.gate.set()
    await house.issuer.drain()
    new = await house.ask()
    assert new.expiration == house.clock.now() + HOUR
    assert house.sts.calls == 2
    assert house.diary.count("intent") == 2


@pytest.mark.parametrize(
    "error", [StsRejected(), StsUnavailable(), StsTimeout(), AuditUnavailable(), ValueError("defect")]
)
async def test_a_renewal_that_fails_takes_nothing_away_while_the_old_set_is_good(
    house: House, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    old = await house.ask()
    house.clock.moment += timedelta(minutes=40)
    house.sts.error = cast("BrokerError", error)
    assert await house.ask() == old
    await house.issuer.drain()
    assert await house.ask() == old
    await house.issuer.drain()
    house.clock.moment += timedelta(minutes=5)
    with pytest.raises(type(error)):
        await house.ask()
    assert unheard == []
    assert ("defect" in caplog.text) == isinstance(error, ValueError), "a defect is not lost with nobody waiting"


async def test_a_renewal_under_way_is_shared_by_who_finds_nothing_any_more(house: House) -> None:
    await house.ask()
    house.clock.moment += timedelta(minutes=44)
    house.sts.gate = asyncio.Event()
    await house.ask()
    house.clock.moment += timedelta(minutes=1)
    late = asyncio.ensure_future(house.ask())
    await asyncio.sleep(0)
    house.sts.gate.set()
    assert (await late).access_key_id.endswith("2")
    assert house.sts.calls == 2
