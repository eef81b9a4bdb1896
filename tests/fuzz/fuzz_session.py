"""Sealed sessions and job passes: only the exact text that we made opens, in its own place, and to who it was made for."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, NamedTuple

from multidict import CIMultiDict

from broker import wire
from broker.authn.dpop import ProofGuard
from broker.authn.job_pass import JobPasses, delegated
from broker.authn.job_pass import shown as pass_shown
from broker.authn.session import Kind, Sessions, Unopened, shown
from broker.core.birth import Births
from broker.core.errors import AuthFailed, BadRequest, PassRefused
from broker.core.identity import Identity
from broker.core.principal import Principal
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, Use
from broker.web import cookie

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PREFIX = "ztpass_"
REASONS = {f"session_{what}" for what in ("altered", "key_unknown", "expired", "ended")}


class Asked(NamedTuple):
    """Of a request, what a cookie's reader looks at."""

    headers: CIMultiDict[str]


class StoppedClock:
    def now(self) -> datetime:
        return NOON

    def boottime(self) -> float:
        return 0.0


CLOCK = StoppedClock()
SESSIONS = Sessions(
    is_ended=lambda _, __: False,
    envelope=DailyEnvelope(hierarchy=KeyHierarchy(master=b"m" * 32), use=Use.SESSION_SEAL, clock=CLOCK),
    proofs=ProofGuard(shared=None, clock=CLOCK),
    epoch=lambda _: 0,
    clock=CLOCK,
    births=Births(clock=CLOCK, boot="this-boot"),
)
ALICE = Identity(
    principal=Principal(components=("alice",), realm="EXAMPLE.COM"),
    ticket_end=NOON + timedelta(hours=24),
    authenticated_at=NOON - timedelta(hours=1),
    channel_bound=False,
    indicators=frozenset({"otp"}),
    groups=frozenset({"S-1-5-21-1-2-3-513"}),
    mutual_token=None,
)
MADE = SESSIONS.for_browser(ALICE)
assert MADE is not None
TEXT = MADE.value.reveal()


class NoRegister:
    """Opening a pass asks nobody; whether it is still in force is asked later."""

    async def enter(self, _identifier: str, _principal: Principal, *, until: datetime) -> None:
        raise AssertionError(until)

    async def strike(self, _identifier: str, _principal: Principal) -> bool:
        raise AssertionError

    async def knows(self, _lineage: tuple[str, ...], _principal: Principal) -> bool:
        raise AssertionError


PASSES = JobPasses(
    # The same keys as the sessions have, which is worse than it is: so nothing but the context tells them apart.
    envelope=DailyEnvelope(hierarchy=KeyHierarchy(master=b"m" * 32), use=Use.SESSION_SEAL, clock=CLOCK),
    register=NoRegister(),
    epoch=lambda _: 0,
    clock=CLOCK,
    births=Births(clock=CLOCK, boot="this-boot"),
)
PASS = PASSES.made(
    delegated(ALICE, now=NOON),
    role="developer",
    networks=(ip_network("192.0.2.0/24"),),
    lifetime=timedelta(hours=8),
    until=NOON + timedelta(days=1),
)
PASS_TEXT = PASSES.seal(PASS).reveal()


def seeds() -> Iterator[bytes]:
    yield TEXT.encode()
    yield PASS_TEXT.encode()
    yield b"Bearer " + PASS_TEXT.encode()
    yield base64.urlsafe_b64decode(PASS_TEXT.removeprefix(PREFIX))
    yield base64.urlsafe_b64decode(TEXT)
    yield f"{wire.SESSION_COOKIE}={TEXT}".encode()
    yield f"a=b; {wire.SESSION_COOKIE}={TEXT}; c=d".encode()
    yield f"{wire.SESSION_COOKIE}=1; {wire.SESSION_COOKIE}=2".encode()


def one_input(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    judge_header(data)
    judge(text)
    judge_pass(text)
    judge_pass(f"Bearer {PREFIX}{base64.urlsafe_b64encode(data).decode()}")
    # The fuzzer is no good at base64: what it invents counts as the sealed bytes too.
    judge(base64.urlsafe_b64encode(data).decode())


def judge(text: str) -> None:
    for kind in Kind:
        try:
            session = SESSIONS.open(Unopened(kind, text))
        except AuthFailed as error:
            assert error.reason in REASONS, error.reason
        else:
            assert (kind, text) == (Kind.COOKIE, TEXT)
            assert session.identity == ALICE


def judge_pass(authorization: str) -> None:
    text = pass_shown(authorization)
    if text is None:
        return
    try:
        opened = PASSES.open(text)
    except PassRefused as error:
        assert error.reason in {"pass_altered", "pass_key_unknown"}, error.reason
    else:
        assert text == PASS_TEXT
        assert opened == PASS


def judge_header(data: bytes) -> None:
    # A header never holds these (RFC 9110 section 5.5); the parser has refused them.
    if frozenset(data) & frozenset(b"\r\n\0"):
        return
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = cookie.of(Asked(CIMultiDict({"Cookie": text, "Sec-Fetch-Site": "same-origin"})))
    except BadRequest:
        return
    unopened = shown(authorization=None, cookie=found)
    assert (unopened is None) == (found is None)
    if unopened is not None:
        assert unopened.kind is Kind.COOKIE
        judge(unopened.text)
