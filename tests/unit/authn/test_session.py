"""Sessions as an attacker would bend them: moved, altered, mixed up, kept too long."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authn import dpop, session
from broker.authn.dpop import ProofGuard
from broker.authn.session import COOKIE_LIFETIME, TOKEN_LIFETIME, Kind, Sessions, Unopened, shown
from broker.core.birth import Births
from broker.core.errors import AuthFailed, BadRequest
from broker.core.identity import Identity, SealedSession, UnverifiedProof
from broker.core.principal import NameType, Principal
from broker.keys.envelope import Envelope
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, Use
from tests.fakes.dpop import Prover

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://broker.example.com/v1/sessions"
DOMAIN = "S-1-5-21-3623811015-3361044348-30300820"

ALICE = Identity(
    principal=Principal(components=("alice",), realm="EXAMPLE.COM"),
    ticket_end=NOON + timedelta(hours=24),
    authenticated_at=NOON - timedelta(hours=1),
    channel_bound=True,
    indicators=frozenset({"pkinit", "otp"}),
    groups=frozenset({f"{DOMAIN}-513", f"{DOMAIN}-1105"}),
    mutual_token=b"proof of the broker",
)


class HandClock:
    """Moves when told to. Who sets ``moment`` sets the wall clock alone."""

    def __init__(self, moment: datetime = NOON) -> None:
        self.moment = moment
        self.booted = 1000.0

    def now(self) -> datetime:
        return self.moment

    def boottime(self) -> float:
        return self.booted

    def move(self, by: timedelta) -> None:
        """Time passes."""
        self.moment += by
        self.booted += by.total_seconds()


class Instance:
    """A broker's sessions, with a clock and a master key of its own."""

    def __init__(self, *, master: bytes = b"m" * 32, clock: HandClock | None = None, boot: str = "this-boot") -> None:
        self.clock = clock or HandClock()
        self.epoch = 0
        self.ended: set[str] = set()
        self.sessions = Sessions(
            envelope=DailyEnvelope(hierarchy=KeyHierarchy(master=master), use=Use.SESSION_SEAL, clock=self.clock),
            proofs=ProofGuard(shared=None, clock=self.clock),
            epoch=lambda _: self.epoch,
            is_ended=lambda _, session: session in self.ended,
            clock=self.clock,
            births=Births(clock=self.clock, boot=boot),
        )

    def cookie(self, identity: Identity = ALICE) -> str:
        made = self.sessions.for_browser(identity)
        assert made is not None
        return made.value.reveal()

    async def token(self, prover: Prover, identity: Identity = ALICE) -> SealedSession:
        return await self.sessions.made(identity, proof=self.proof(prover))

    def proof(self, prover: Prover, *, token: str | None = None) -> UnverifiedProof:
        text = prover.proof("POST", URL, token=token, now=self.clock.now().timestamp())
        return UnverifiedProof(text=text, method="POST", url=URL)

    def open(self, text: str, kind: Kind = Kind.COOKIE) -> Identity:
        return self.sessions.open(Unopened(kind, text)).identity

    def reason(self, text: str, kind: Kind = Kind.COOKIE) -> str:
        """Why a session is refused."""
        with pytest.raises(AuthFailed) as refused:
            self.open(text, kind)
        assert refused.value.hint == dpop.HINT
        return refused.value.reason


@pytest.fixture
def instance() -> Instance:
    return Instance()


@pytest.fixture(scope="module")
def prover() -> Prover:
    return Prover.es256()


# ---- what a session is ----


async def test_a_token_says_all_that_the_ticket_said(instance: Instance, prover: Prover) -> None:
    made = await instance.token(prover)
    assert instance.open(made.value.reveal(), Kind.DPOP) == replace(ALICE, mutual_token=None)


def test_a_cookie_says_all_but_what_binds_a_connection(instance: Instance) -> None:
    assert instance.open(instance.cookie()) == replace(ALICE, mutual_token=None, channel_bound=False)


@given(
    components=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4),
    realm=st.text(min_size=1, max_size=20),
    name_type=st.sampled_from(NameType),
    indicators=st.frozensets(st.text(max_size=10), max_size=4),
    groups=st.frozensets(st.from_regex(r"S-1-5(-[1-9][0-9]{0,8}){1,5}", fullmatch=True), max_size=20),
)
def test_whoever_is_sealed_comes_out_the_same(
    components: list[str], realm: str, name_type: NameType, indicators: frozenset[str], groups: frozenset[str]
) -> None:
    instance = Instance()
    principal = Principal(components=tuple(components), realm=realm, name_type=name_type)
    identity = replace(ALICE, principal=principal, indicators=indicators, groups=groups)
    cookie = instance.sessions.for_browser(identity)
    assert cookie is not None
    assert instance.open(cookie.value.reveal()) == replace(identity, mutual_token=None, channel_bound=False)


@pytest.mark.parametrize("by", [None, (), ("HTTP/front.localhost@AD.EXAMPLE.COM",)])
def test_whoever_came_in_somebodys_name_is_known_from_the_session_too(
    instance: Instance, by: tuple[str, ...] | None
) -> None:
    assert instance.open(instance.cookie(replace(ALICE, impersonated_by=by))).impersonated_by == by


def test_what_a_directory_said_is_not_kept_in_a_session(instance: Instance) -> None:
    named = replace(ALICE, groups=ALICE.groups | {"AD.EXAMPLE.COM\\aws-dev", "S-1-5-21-x", ""})
    assert instance.open(instance.cookie(named)).groups == ALICE.groups


def test_nothing_in_a_session_can_be_read(instance: Instance) -> None:
    raw = base64.urlsafe_b64decode(instance.cookie())
    for word in (b"alice", b"EXAMPLE", b"pkinit", b"S-1-5", b"proof of the broker"):
        assert word not in raw


def test_no_two_sessions_are_the_same_bytes(instance: Instance) -> None:
    assert instance.cookie() != instance.cookie()


def test_a_session_does_not_show_in_a_repr(instance: Instance) -> None:
    made = instance.sessions.for_browser(ALICE)
    assert made is not None
    assert made.value.reveal() not in repr(made)


@pytest.mark.parametrize("span", [20_000, 1_000_000])
def test_as_many_groups_as_windows_allows_fit_into_a_cookie(instance: Instance, span: int) -> None:
    numbers = random.Random(span).sample(range(1000, span), 1015)  # noqa: S311  # sizes, not secrets
    groups = frozenset(f"{DOMAIN}-{number}" for number in numbers)
    cookie = instance.cookie(replace(ALICE, groups=groups))
    assert len(f"__Host-zerotrust={cookie}") <= 4096
    assert instance.open(cookie).groups == groups


async def test_more_groups_than_fit_into_a_cookie_go_into_a_token_only(instance: Instance, prover: Prover) -> None:
    numbers = random.Random(1).sample(range(1000, 2**30), 4096)  # noqa: S311  # sizes, not secrets
    crowded = replace(ALICE, groups=frozenset(f"{DOMAIN}-{number}" for number in numbers))
    assert instance.sessions.for_browser(crowded) is None
    with pytest.raises(BadRequest, match="cookie_too_large"):
        await instance.sessions.made(crowded, proof=None)
    made = await instance.token(prover, crowded)
    assert instance.open(made.value.reveal(), Kind.DPOP).groups == crowded.groups


# ---- which way a request asks ----


@pytest.mark.parametrize("scheme", ["DPoP", "dpop", "DPOP"])
def test_a_scheme_is_read_in_any_case(scheme: str) -> None:
    assert shown(authorization=f"{scheme} abc", cookie=None) == Unopened(Kind.DPOP, "abc")


@pytest.mark.parametrize("authorization", ["Negotiate YII=", "Bearer abc", "Basic abc", "", "DPoPx abc", "abc"])
def test_another_authorization_is_no_session_and_no_cookie_makes_good_for_it(authorization: str) -> None:
    assert shown(authorization=authorization, cookie="a good one") is None


def test_a_token_wins_over_a_cookie() -> None:
    assert shown(authorization="DPoP abc", cookie="a good one") == Unopened(Kind.DPOP, "abc")


# ---- altered and mixed up ----


def test_any_character_changed_closes_a_session(instance: Instance) -> None:
    text = instance.cookie()
    for place, char in enumerate(text):
        other = "A" if char != "A" else "B"
        assert instance.reason(text[:place] + other + text[place + 1 :]) in {"session_altered", "session_key_unknown"}


def test_any_bit_changed_closes_a_session(instance: Instance) -> None:
    sealed = base64.urlsafe_b64decode(instance.cookie())
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        text = base64.urlsafe_b64encode(changed).decode()
        assert instance.reason(text) in {"session_altered", "session_key_unknown"}


@pytest.mark.parametrize("length", [0, 1, 36, 37, -5, -4, -1])
def test_a_session_cut_short_does_not_open(instance: Instance, length: int) -> None:
    assert instance.reason(instance.cookie()[:length]) in {"session_altered", "session_key_unknown"}


@pytest.mark.parametrize("around", ["{}A", "{}====", "A{}", " {}", "{}\n", '"{}"', "{};", "é{}", "\udcff{}", "{}.{}"])
def test_a_session_with_something_around_it_does_not_open(instance: Instance, around: str) -> None:
    text = instance.cookie()
    assert instance.reason(around.format(text, text)) in {"session_altered", "session_key_unknown"}


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_nothing_but_a_refusal_comes_of_what_we_did_not_seal(text: str) -> None:
    assert Instance().reason(text) in {"session_altered", "session_key_unknown"}


def test_a_huge_session_is_refused_before_it_is_read(instance: Instance) -> None:
    assert instance.reason("A" * 100_000) == "session_altered"


@pytest.mark.parametrize(
    "text",
    [
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZUBFWEFNUExFLkNPTSJ9.",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZUBFWEFNUExFLkNPTSJ9.AAAA",
    ],
)
def test_a_jwt_is_no_session(instance: Instance, text: str) -> None:
    assert instance.reason(text) == "session_altered"
    assert instance.reason(text, Kind.DPOP) == "session_altered"


async def test_a_cookie_is_no_token_and_a_token_no_cookie(instance: Instance, prover: Prover) -> None:
    token = (await instance.token(prover)).value.reveal()
    assert instance.reason(token, Kind.COOKIE) == "session_altered"
    assert instance.reason(instance.cookie(), Kind.DPOP) == "session_altered"


def test_what_the_cache_sealed_is_no_session(instance: Instance) -> None:
    # Even with the very key of the day: what is sealed says what it is.
    key = KeyHierarchy(master=b"m" * 32).derive(Use.SESSION_SEAL, period=NOON.toordinal())
    sealed = Envelope(keys=[key]).seal(b"{}", context=b"credentials/v1")
    assert instance.reason(base64.urlsafe_b64encode(sealed).decode()) == "session_altered"


# ---- the holder of the key ----


async def test_the_holder_of_the_key_is_let_in(instance: Instance, prover: Prover) -> None:
    token = (await instance.token(prover)).value.reveal()
    opened = instance.sessions.open(Unopened(Kind.DPOP, token))
    assert opened.thumbprint == prover.thumbprint
    await instance.sessions.prove(opened, instance.proof(prover, token=token))


async def test_a_stolen_token_is_worth_nothing(instance: Instance, prover: Prover) -> None:
    token = (await instance.token(prover)).value.reveal()
    opened = instance.sessions.open(Unopened(Kind.DPOP, token))
    seen = instance.proof(prover, token=token)
    await instance.sessions.prove(opened, seen)
    for proof, why in (
        (None, "dpop_missing"),
        (instance.proof(Prover.es256(), token=token), "dpop_other_key"),
        (instance.proof(prover), "dpop_other_token"),
        (seen, "dpop_replayed"),
    ):
        with pytest.raises(AuthFailed) as refused:
            await instance.sessions.prove(opened, proof)
        assert refused.value.reason == why


async def test_the_proof_that_made_a_session_makes_no_second_one(instance: Instance, prover: Prover) -> None:
    proof = instance.proof(prover)
    await instance.sessions.made(ALICE, proof=proof)
    with pytest.raises(AuthFailed, match="dpop_replayed"):
        await instance.sessions.made(ALICE, proof=proof)


async def test_a_token_without_a_key_opens_for_nobody(instance: Instance, prover: Prover) -> None:
    sealed = instance.sessions._sealed(ALICE, Kind.DPOP, TOKEN_LIFETIME, None)
    opened = instance.sessions.open(Unopened(Kind.DPOP, sealed.value.reveal()))
    with pytest.raises(AuthFailed, match="dpop_other_key"):
        await instance.sessions.prove(opened, instance.proof(prover, token=sealed.value.reveal()))


# ---- time ----


async def test_lifetimes_are_as_documented(instance: Instance, prover: Prover) -> None:
    cookie = instance.sessions.for_browser(ALICE)
    assert cookie is not None
    assert cookie.lifetime == COOKIE_LIFETIME == timedelta(hours=10)
    assert (await instance.token(prover)).lifetime == TOKEN_LIFETIME == timedelta(hours=1)


@pytest.mark.parametrize("kind", Kind)
async def test_no_session_outlives_its_ticket(instance: Instance, prover: Prover, kind: Kind) -> None:
    ends = NOON + timedelta(minutes=20)
    proof = instance.proof(prover) if kind is Kind.DPOP else None
    made = await instance.sessions.made(replace(ALICE, ticket_end=ends), proof=proof)
    assert made.lifetime == timedelta(minutes=20)
    instance.clock.moment = ends - timedelta(seconds=1)
    assert instance.open(made.value.reveal(), kind).ticket_end == ends
    instance.clock.moment = ends
    assert instance.reason(made.value.reveal(), kind) == "session_expired"


def test_fractions_of_a_second_stretch_no_ticket(instance: Instance) -> None:
    ends = NOON + timedelta(minutes=20, microseconds=900_000)
    cookie = instance.cookie(replace(ALICE, ticket_end=ends))
    assert instance.open(cookie).ticket_end <= ends
    instance.clock.moment = ends
    assert instance.reason(cookie) == "session_expired"


def test_a_cookie_ends_after_ten_hours_whatever_the_ticket_says(instance: Instance) -> None:
    cookie = instance.cookie()
    instance.clock.moment += COOKIE_LIFETIME - timedelta(seconds=1)
    assert instance.open(cookie)
    instance.clock.moment += timedelta(seconds=1)
    assert instance.reason(cookie) == "session_expired"


def test_the_age_of_a_ticket_goes_on_counting_in_a_session(instance: Instance) -> None:
    cookie = instance.cookie()
    instance.clock.moment += timedelta(hours=5)
    assert instance.open(cookie).authenticated_at == ALICE.authenticated_at


def test_a_session_of_another_host_from_the_future_does_not_open(instance: Instance) -> None:
    """The clock was put back here, or is ahead there: its end would come too late."""
    cookie = Instance(boot="another-host").cookie()
    instance.clock.moment -= timedelta(minutes=5)
    assert instance.open(cookie)
    instance.clock.moment -= timedelta(seconds=1)
    assert instance.reason(cookie) == "session_expired"


@pytest.mark.parametrize("back", [timedelta(0), timedelta(hours=2), timedelta(hours=20)])
def test_a_clock_put_back_prolongs_no_session_of_this_host(instance: Instance, back: timedelta) -> None:
    cookie = instance.cookie()
    instance.clock.moment -= back
    instance.clock.move(session.COOKIE_LIFETIME - timedelta(seconds=1))
    assert instance.open(cookie)
    instance.clock.move(timedelta(seconds=1))
    assert instance.reason(cookie) == "session_expired"


def test_a_session_of_a_moment_that_is_yet_to_come_by_the_clock_that_nobody_sets_does_not_open(
    instance: Instance,
) -> None:
    cookie = instance.cookie()
    instance.clock.booted -= 60
    assert instance.reason(cookie) == "session_expired"


def test_sessions_made_before_they_were_ended_do_not_open(instance: Instance) -> None:
    before = instance.cookie()
    instance.epoch += 1
    assert instance.reason(before) == "session_ended"
    assert instance.open(instance.cookie())


# ---- keys ----


def test_a_session_goes_on_over_midnight_and_at_another_instance() -> None:
    evening = HandClock(NOON.replace(hour=23, minute=59))
    cookie = Instance(clock=evening).cookie()
    after = Instance(clock=HandClock(evening.moment + timedelta(hours=9)))
    assert after.open(cookie)


def test_the_same_instance_takes_the_new_day_s_key_at_midnight(instance: Instance) -> None:
    before = instance.cookie()
    instance.clock.moment = NOON + timedelta(hours=12)
    after = instance.cookie()
    key_id = slice(1, 9)
    assert base64.urlsafe_b64decode(before)[key_id] != base64.urlsafe_b64decode(after)[key_id]
    assert instance.open(after)


def test_an_instance_whose_clock_is_behind_opens_what_was_sealed_after_midnight() -> None:
    ahead = HandClock(datetime(2026, 3, 2, 0, 1, tzinfo=UTC))
    behind = Instance(clock=HandClock(ahead.moment - timedelta(minutes=2)))
    assert behind.open(Instance(clock=ahead).cookie())


def test_the_day_before_yesterday_s_key_is_gone(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "COOKIE_LIFETIME", timedelta(days=9))
    cookie = instance.cookie(replace(ALICE, ticket_end=NOON + timedelta(days=9)))
    instance.clock.moment = NOON.replace(day=2, hour=23)
    assert instance.open(cookie)
    instance.clock.moment = NOON.replace(day=3, hour=0)
    assert instance.reason(cookie) == "session_key_unknown"


def test_another_master_key_opens_nothing(instance: Instance) -> None:
    assert Instance(master=b"n" * 32).reason(instance.cookie()) == "session_key_unknown"


def test_a_restart_with_the_same_master_key_changes_nothing(instance: Instance) -> None:
    assert Instance().open(instance.cookie())


def test_no_use_shares_a_key_with_another_nor_a_day_with_the_next() -> None:
    hierarchy = KeyHierarchy(master=b"m" * 32)
    keys = {hierarchy.derive(use, period=period) for use in Use for period in (None, 1, 2, 12, 739_676)}
    assert len(keys) == len(Use) * 5
