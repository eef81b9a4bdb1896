"""The way itself: in which order its steps act, and that no failure of one becomes an allow."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from broker.audit.event import Event
from broker.audit.log import AuditLog
from broker.authn import spnego
from broker.authn.directory import Directories
from broker.authn.dpop import ProofGuard
from broker.authn.job_pass import JobPasses
from broker.authn.register import Register
from broker.authn.roll import Roll
from broker.authn.roll_store import MemoryStore
from broker.authn.session import Sessions
from broker.authz.limits import Limits, Of
from broker.authz.policies import Policies
from broker.authz.policy import Policy
from broker.core.birth import Births
from broker.core.credentials import Credentials
from broker.core.errors import (
    AccessDenied,
    AuditUnavailable,
    AuthFailed,
    AuthRequired,
    BrokerError,
    DirectoryUnavailable,
    KeysUnavailable,
    RateLimited,
    ReplayGuardUnavailable,
    StsRejected,
    StsTimeout,
    StsUnavailable,
)
from broker.core.grant import Grant
from broker.core.identity import Identity
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.core.rate import Rate
from broker.core.replicated import Replicas
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.rule import Requirements, Rule
from broker.core.secret import Secret
from broker.issuing.ask import Ask, Entrance
from broker.issuing.explain import Explainer
from broker.issuing.issue import Issuer
from broker.issuing.overview import Overviews
from broker.issuing.standing import Desk
from broker.issuing.uses import Uses
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, Use
from broker.revocation.holds import Holds
from broker.sts.console import Console
from tests.fakes.cache import cache_of
from tests.fakes.elevation import elevating
from tests.fakes.epochs import epochs_without_redis

HOUR = timedelta(hours=1)
ARN = RoleArn.parse("arn:aws:iam::111122223333:role/Developer")
ROLE = Role(name=RoleName("developer"), chain=(Hop(arn=ARN, external_id="x-1"),), duration=HOUR)


# More than any other test here asks in one minute.
PER_MINUTE = 40
# 1.2.840.113554.1.2.2 with tag and length.
KERBEROS = bytes.fromhex("06092a864886f712010202")
_uses = itertools.count()


class MovedClock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def boottime(self) -> float:
        return self.moment.timestamp()


def token_for(who: str) -> str:
    """An ``Authorization`` header with a Kerberos token in form, a new one each time; its authenticator says the name.

    RFC 2743 section 3.1 around RFC 4121 section 4.1 around an AP-REQ (RFC 4120 section 5.5.1).
    """
    cipher = der(0xA0, der(0x02, b"\x12")) + der(0xA2, der(0x04, f"{who} {next(_uses)}".encode()))
    members = [der(0x02, b"\x05"), der(0x02, b"\x0e"), der(0x03, bytes(5)), der(0x61, b""), der(0x30, cipher)]
    request = der(0x6E, der(0x30, b"".join(der(0xA0 + place, member) for place, member in enumerate(members))))
    token = der(0x60, KERBEROS + b"\x01\x00" + request)
    return "Negotiate " + base64.b64encode(token).decode()


def der(tag: int, content: bytes) -> bytes:
    assert len(content) < 0x80
    return bytes([tag, len(content)]) + content


class Names:
    """An authenticator that believes whatever name a token says."""

    def __init__(self, clock: MovedClock) -> None:
        self._clock = clock
        self.accepted = 0

    def accept(self, token: bytes, *, binding: bytes | None) -> Identity:
        who, _ = spnego.authenticator(spnego.UnverifiedToken(token)).decode().split(" ")
        if who == "broken":
            raise AuthFailed(reason="token_unusable")
        self.accepted += 1
        return Identity(
            principal=Principal.parse(who),
            ticket_end=self._clock.now() + timedelta(hours=10),
            authenticated_at=self._clock.now(),
            channel_bound=binding is not None,
            indicators=frozenset({"otp"}),
            groups=frozenset(),
            mutual_token=b"proof",
        )


class Guard:
    """Remembers what was used; cannot say, when the test says so."""

    def __init__(self) -> None:
        self.used: set[bytes] = set()
        self.error: BrokerError | None = None

    async def spend(self, authenticator: bytes) -> None:
        if self.error is not None:
            raise self.error
        if authenticator in self.used:
            raise AuthFailed(reason="ticket_replayed")
        self.used.add(authenticator)

    async def ping(self) -> str | None:
        return None


class Groups:
    """A realm's directory: who is in what, or why it cannot say."""

    is_needed = True

    def __init__(self) -> None:
        self.of: dict[str, set[str]] = {}
        self.error: DirectoryUnavailable | None = None

    async def groups(self, principal: Principal, of_ticket: frozenset[str]) -> frozenset[str]:
        if self.error is not None:
            raise self.error
        return of_ticket | self.of.get(str(principal), set())


class Sts:
    """Gives a new set each time, or fails, when the test says so. ``events`` are the requests that it was asked for."""

    def __init__(self, clock: MovedClock, diary: list[str]) -> None:
        self._clock = clock
        self._diary = diary
        self.calls = 0
        self.events: list[str | None] = []
        self.error: BrokerError | None = None
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def assume(self, grant: Grant, *, event: str | None, waited: timedelta, took: object) -> Credentials:  # noqa: ARG002
        self.calls += 1
        self.events.append(event)
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
            minted_by=event,
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
    """``rules`` stand in the place of the one that lets alice, and whoever is in a group, be developer."""

    def __init__(self, *rules: Rule) -> None:
        self.clock = MovedClock()
        self.diary: list[str] = []
        self.names = Names(self.clock)
        self.guard = Guard()
        self.directory = Groups()
        self.sts = Sts(self.clock, self.diary)
        self.audit = Diary(self.diary)
        rule = Rule(
            name="engineers",
            principals=(PrincipalPattern.parse("alice@R"),),
            groups=("R\\aws-dev",),
            networks=(),
            require=Requirements(),
            roles=frozenset({ROLE.name}),
        )
        hierarchy = self.hierarchy = KeyHierarchy(master=b"m" * 32)
        self.epochs = epochs_without_redis(hierarchy, clock=self.clock)
        sessions = Sessions(
            envelope=DailyEnvelope(hierarchy=hierarchy, use=Use.SESSION_SEAL, clock=self.clock),
            proofs=ProofGuard(shared=None, clock=self.clock),
            epoch=self.epochs.of,
            is_ended=self.epochs.is_ended,
            clock=self.clock,
            births=Births(clock=self.clock, boot="this-boot"),
        )
        self.passes = JobPasses(
            envelope=DailyEnvelope(hierarchy=hierarchy, use=Use.JOB_PASS_SEAL, clock=self.clock, days=7),
            register=Register(client=None, replicas=Replicas(0), key=b"r" * 32, clock=self.clock),
            epoch=self.epochs.of,
            clock=self.clock,
            births=Births(clock=self.clock, boot="this-boot"),
        )
        entrance = Entrance(
            authenticator=cast("Any", self.names),
            directories=Directories(cast("Any", {"R": self.directory})),
            replay_guard=self.guard,
            sessions=sessions,
            passes=self.passes,
            limits=Limits(
                rates=lambda: {Of.PRINCIPAL: Rate(PER_MINUTE, 60)},
                client=None,
                name_key=b"n" * 32,
                clock=self.clock,
            ),
            epochs=self.epochs,
            audit=self.audit,
        )
        self.policies = Policies(Policy(roles={ROLE.name: ROLE}, rules=rules or [rule]))
        self.elevating = elevating(
            hierarchy,
            entrance=entrance,
            policies=self.policies,
            epochs=self.epochs,
            audit=self.audit,
            clock=self.clock,
        )
        self.roll = Roll(
            store=MemoryStore(clock=self.clock),
            envelope=hierarchy.envelope(Use.ROLL_SEAL),
            name_key=hierarchy.derive(Use.ROLL_NAME),
            clock=self.clock,
        )
        self.uses = Uses(roll=self.roll, clock=self.clock)
        self.issuer = Issuer(
            entrance=entrance,
            boxes=self.elevating.boxes,
            epochs=self.epochs,
            policies=self.policies,
            holds=Holds(epochs=self.epochs),
            cache=cache_of(self.clock, epoch=self.epochs.of_credentials),
            sts=cast("Any", self.sts),
            console=Console(),
            uses=self.uses,
            audit=self.audit,
            clock=self.clock,
        )
        self.explainer = Explainer(
            entrance=entrance,
            policies=self.policies,
            boxes=self.elevating.boxes,
            epochs=self.epochs,
            holds=Holds(epochs=self.epochs),
            clock=self.clock,
        )
        self.front_desk = Desk(
            entrance=entrance,
            sessions=sessions,
            passes=self.passes,
            epochs=self.epochs,
            policies=self.policies,
            roll=self.roll,
            uses=self.uses,
            clock=self.clock,
        )
        self.overviews = Overviews(
            entrance=entrance,
            desk=self.front_desk,
            explainer=self.explainer,
            policies=self.policies,
            boxes=self.elevating.boxes,
            holds=Holds(epochs=self.epochs),
            clock=self.clock,
        )

    def asking(self, *, authorization: str | None = None, cookie: str | None = None, request_id: str = "r-1") -> Ask:
        return Ask(
            authorization=authorization,
            cookie=cookie,
            proof=None,
            request_id=request_id,
            source_ip="127.0.0.1",
            address=None,
            binding=None,
        )

    async def ask(self, who: str | None = "alice@R", role: str = "developer", reason: str | None = None) -> Credentials:
        asking = self.asking(authorization=who and token_for(who))
        return await self.issuer.issue(asking, role=role, reason=reason)

    async def refused(self, error: type[BrokerError], **asked: Any) -> BrokerError:
        with pytest.raises(error) as caught:
            await self.ask(**asked)
        return caught.value


@pytest.fixture
async def house() -> House:
    return House()


async def test_a_crowd_with_tickets_keeps_no_other_result_waiting() -> None:
    house, heard = House(), list[int]()
    accept = house.names.accept

    def accepting(token: bytes, *, binding: bytes | None) -> Identity:
        if not house.names.accepted:
            asyncio.get_running_loop().call_soon(lambda: heard.append(house.names.accepted))
        return accept(token, binding=binding)

    house.names.accept = accepting  # type: ignore[method-assign]
    await asyncio.gather(*(house.ask() for _ in range(PER_MINUTE)))
    assert house.names.accepted == PER_MINUTE
    assert heard[0] < PER_MINUTE


async def test_the_intent_is_recorded_before_sts_and_the_outcome_before_the_answer(house: House) -> None:
    credentials = await house.ask()
    assert house.diary == ["intent", "sts", "issued"]
    intent, issued = house.audit.events
    assert (intent.access_key_id, intent.details) == (None, {"via": "ticket", "rule": "engineers"})
    assert (issued.access_key_id, issued.success) == (credentials.access_key_id, True)
    assert (issued.channel_bound, issued.indicators, issued.details) == (
        False,
        {"otp"},
        {"via": "ticket", "rule": "engineers", "minted_by": "r-1"},
    )


async def test_a_hit_is_recorded_too_and_needs_no_intent(house: House) -> None:
    first = await house.ask()
    house.diary.clear()
    assert await house.ask() == first
    assert house.diary == ["issued"]
    assert house.audit.events[-1].origin == "cache"


async def test_every_record_of_shared_credentials_names_the_request_that_they_were_made_for(house: House) -> None:
    house.sts.gate = asyncio.Event()

    def ask(request_id: str) -> asyncio.Future[Credentials]:
        asking = house.asking(authorization=token_for("alice@R"), request_id=request_id)
        return asyncio.ensure_future(house.issuer.issue(asking, role="developer"))

    waiting = [ask("r-1"), ask("r-2")]
    await house.sts.asked.wait()
    house.sts.gate.set()
    await asyncio.gather(*waiting)
    await ask("r-3")
    assert house.sts.events == ["r-1"]
    issued = {event.request_id: event for event in house.audit.events if event.kind == "issued"}
    assert {name: event.details["minted_by"] for name, event in issued.items()} == dict.fromkeys(
        ("r-1", "r-2", "r-3"), "r-1"
    )
    assert {name: event.origin for name, event in issued.items()} == {"r-1": "sts", "r-2": "cache", "r-3": "cache"}


async def test_without_a_recorded_intent_sts_is_never_asked(house: House) -> None:
    house.audit.broken = lambda event: event.kind == "intent"
    await house.refused(AuditUnavailable)
    assert house.sts.calls == 0


async def test_while_the_keys_are_withheld_nobody_gets_anything_and_sts_is_not_asked(house: House) -> None:
    house.hierarchy.withhold()
    await house.refused(KeysUnavailable)
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


@pytest.mark.parametrize(
    "token", ["Negotiate bm8gS2VyYmVyb3M=", "Negotiate ????", "Negotiate", "Basic YTpi", "DPoP x", "Bearer x", ""]
)
async def test_a_header_that_holds_no_ticket_is_refused_before_any_accept_and_recorded(
    house: House, token: str
) -> None:
    with pytest.raises(AuthFailed):
        await house.issuer.issue(house.asking(authorization=token), role="developer")
    assert (house.diary, house.names.accepted) == (["refused"], 0)
    assert house.audit.events[-1].principal is None


async def test_a_ticket_that_is_shown_twice_is_refused_in_its_owners_name_and_proves_nothing_to_the_sender(
    house: House,
) -> None:
    token = token_for("alice@R")
    await house.issuer.issue(house.asking(authorization=token), role="developer")
    again = house.asking(authorization=token)
    with pytest.raises(AuthFailed):
        await house.issuer.issue(again, role="developer")
    last = house.audit.events[-1]
    assert (last.success, last.reason, str(last.principal)) == (False, "ticket_replayed", "alice@R")
    assert again.identity is None, "whoever replays gets no mutual token"


async def test_while_nobody_can_say_whether_a_ticket_is_new_it_does_not_count(house: House) -> None:
    await house.ask()
    house.guard.error = ReplayGuardUnavailable()
    await house.refused(ReplayGuardUnavailable)
    assert (house.audit.events[-1].reason, house.sts.calls) == ("replay_guard_unavailable", 1)


async def test_a_ticket_that_is_not_accepted_is_not_spent(house: House) -> None:
    await house.refused(AuthFailed, who="broken")
    assert house.guard.used == set()


async def test_whoever_asks_too_often_is_refused_and_recorded_and_the_others_are_not(house: House) -> None:
    for _ in range(PER_MINUTE):
        await house.ask()
    refused = await house.refused(RateLimited)
    assert cast("RateLimited", refused).retry_after > 0
    assert (house.audit.events[-1].success, house.audit.events[-1].reason) == (False, "rate_limited")
    await house.refused(AccessDenied, who="mallory@R")


async def test_a_directory_gives_groups_and_while_it_is_silent_only_who_is_named_in_person_goes_on(
    house: House,
) -> None:
    await house.refused(AccessDenied, who="bob@R")
    house.directory.of["bob@R"] = {"R\\aws-dev"}
    await house.ask("bob@R")
    house.directory.error = DirectoryUnavailable(reason="directory_timeout")
    await house.refused(DirectoryUnavailable, who="bob@R")
    assert house.audit.events[-1].reason == "directory_timeout"
    await house.ask("alice@R")


async def test_a_session_stands_for_the_ticket_that_it_was_made_with_and_the_record_says_so(house: House) -> None:
    first = house.asking(authorization=token_for("alice@R"))
    standing = await house.overviews.of(first)
    assert standing.cookie is not None
    cookie = standing.cookie.value.reveal()
    later = house.asking(cookie=cookie)
    assert (await house.issuer.issue(later, role="developer")).access_key_id == "ASIA0000000000000001"
    issued = house.audit.events[-1]
    assert (str(issued.principal), issued.indicators, issued.details) == (
        "alice@R",
        {"otp"},
        {"via": "cookie", "rule": "engineers", "minted_by": "r-1"},
    )
    assert house.names.accepted == 1
    assert cookie not in repr(house.audit.events)
    again = await house.overviews.of(later)
    assert again.cookie is None, "a session that renews itself would never end"


async def test_a_session_that_has_ended_is_refused_in_the_name_of_whose_it_was(house: House) -> None:
    first = house.asking(authorization=token_for("alice@R"))
    standing = await house.overviews.of(first)
    assert standing.cookie is not None
    house.clock.moment += timedelta(hours=10)
    later = house.asking(cookie=standing.cookie.value.reveal())
    with pytest.raises(AuthFailed):
        await house.issuer.issue(later, role="developer")
    last = house.audit.events[-1]
    assert (last.success, last.reason, str(last.principal)) == (False, "session_expired", "alice@R")
    assert later.identity is None


async def test_a_session_that_is_altered_is_refused_and_recorded_as_nobodys(house: House) -> None:
    first = house.asking(authorization=token_for("alice@R"))
    standing = await house.overviews.of(first)
    assert standing.cookie is not None
    with pytest.raises(AuthFailed):
        await house.issuer.issue(house.asking(cookie=standing.cookie.value.reveal()[:-4] + "AAAA"), role="developer")
    last = house.audit.events[-1]
    assert (last.success, last.reason, last.principal) == (False, "session_altered", None)
    assert house.sts.calls == 0


async def test_without_a_record_no_session_is_opened(house: House) -> None:
    house.audit.broken = lambda _: True
    with pytest.raises(AuditUnavailable):
        await house.front_desk.open_session(house.asking(authorization=token_for("alice@R")))


async def test_a_session_opens_no_session(house: House) -> None:
    made = await house.front_desk.open_session(house.asking(authorization=token_for("alice@R")))
    with pytest.raises(AuthRequired):
        await house.front_desk.open_session(house.asking(cookie=made.value.reveal()))
    assert [event.success for event in house.audit.events] == [True, False]


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
