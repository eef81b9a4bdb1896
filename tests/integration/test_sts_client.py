"""The STS client against a strict STS: what it refuses, what it does when AWS is ill, and how soon."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from broker.core.clock import Clock, SystemClock
from broker.core.credentials import Credentials
from broker.core.errors import Overloaded, StsError, StsRejected, StsTimeout, StsUnavailable
from broker.core.grant import Grant
from broker.core.principal import Principal
from broker.core.rate import Rate
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.sts.base import BaseCredentials, GivenCredentials
from broker.sts.client import OnFailure, StsClient
from broker.sts.endpoint import Region
from tests.fakes.sts import StrictSts, demo_world
from tests.fakes.sts.demo import (
    BROKER_ACCESS_KEY_ID,
    BROKER_SECRET_ACCESS_KEY,
    DEVELOPER_EXTERNAL_ID,
    DEVELOPER_ROLE,
    HUB_EXTERNAL_ID,
    HUB_ROLE,
)

PROMISED_SECONDS = 5.0  # security.md: an answer within 5 s, whatever STS does
BASE = GivenCredentials(access_key_id=BROKER_ACCESS_KEY_ID, secret_key=BROKER_SECRET_ACCESS_KEY, session_token=None)


@pytest.fixture(scope="module")
def running() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as sts:
        yield sts


@pytest.fixture
def sts(running: StrictSts) -> StrictSts:
    running.clear()
    return running


@pytest.fixture
def client(sts: StrictSts) -> Iterator[StsClient]:
    made = client_of(sts.url)
    yield made
    made.close()


REGIONS = ("eu-central-1", "eu-west-1", "eu-west-3", "eu-north-1")


def client_of(
    *addresses: str,
    base: BaseCredentials = BASE,
    rate: Rate | None = None,
    clock: Clock | None = None,
    on_failure: OnFailure = lambda *_: None,
) -> StsClient:
    """A client with a region behind each address, in the order of ``REGIONS``."""
    return StsClient(
        regions=[Region(*pair) for pair in zip(REGIONS, addresses, strict=False)],
        base=base,
        rate=rate or Rate(1000, 1),
        clock=clock or SystemClock(),
        chance=lambda: 0.5,
        on_failure=on_failure,
    )


def grant(
    *,
    hub: str | None = HUB_EXTERNAL_ID,
    developer: str | None = DEVELOPER_EXTERNAL_ID,
    who: str = "alice@EXAMPLE.COM",
    lifetime: timedelta = timedelta(hours=1),
) -> Grant:
    chain = (
        Hop(arn=RoleArn.parse(HUB_ROLE), external_id=hub),
        Hop(arn=RoleArn.parse(DEVELOPER_ROLE), external_id=developer),
    )
    return Grant(
        principal=Principal.parse(who),
        role=Role(name=RoleName("developer"), chain=chain, duration=timedelta(hours=1)),
        rule="engineers",
        policy_digest="d1",
        lifetime=lifetime,
        ends_at=None,
    )


async def failure(client: StsClient, wanted: Grant) -> StsError:
    """How an attempt fails; that it does so in time is part of every test."""
    started = time.monotonic()
    with pytest.raises(StsError) as caught:
        await client.assume(wanted)
    assert time.monotonic() - started < PROMISED_SECONDS
    return caught.value


def everything_said(error: BaseException) -> str:
    said = ""
    one: BaseException | None = error
    while one is not None:
        said += f"{one!r} {one} {getattr(one, 'hint', '')} {getattr(one, 'reason', '')}"
        one = one.__cause__
    return said


# ---- health ----


async def test_the_chain_ends_in_credentials_of_the_last_hop(client: StsClient, sts: StrictSts) -> None:
    credentials = await client.assume(grant())
    hub, developer = sts.calls()
    assert (credentials.role_arn, credentials.account) == (DEVELOPER_ROLE, "111122223333")
    assert credentials.access_key_id == developer["access_key_id_issued"] != hub["access_key_id_issued"]
    assert (hub["role_arn"], hub["duration"]) == (HUB_ROLE, 900)
    assert (developer["role_arn"], developer["duration"]) == (DEVELOPER_ROLE, 3600)
    assert {call["source_identity"] for call in (hub, developer)} == {"alice@EXAMPLE.COM"}
    assert "assumed-role/BrokerHub/alice@EXAMPLE.COM" in developer["caller_arn"]
    assert await client.ping() is None


@pytest.mark.parametrize(
    "who", ["alice/admin@EXAMPLE.COM", "DC1$@EXAMPLE.COM", "a" * 128 + "@EXAMPLE.COM", "x/" * 3 + "y@EXAMPLE.COM"]
)
async def test_any_principal_s_session_name_is_taken_by_sts(client: StsClient, sts: StrictSts, who: str) -> None:
    await client.assume(grant(who=who))
    assert [call["session_name"] for call in sts.calls()] == [Principal.parse(who).session_name()] * 2


async def test_chains_that_run_at_once_do_not_mix_their_credentials(client: StsClient, sts: StrictSts) -> None:
    people = [f"user{number}@EXAMPLE.COM" for number in range(24)]
    given = await asyncio.gather(*(client.assume(grant(who=who)) for who in people))
    by_key = {call["access_key_id_issued"]: call for call in sts.calls(role_arn=DEVELOPER_ROLE)}
    for who, credentials in zip(people, given, strict=True):
        call = by_key[credentials.access_key_id]
        assert call["session_name"] == who
        # Signed with the hub session of the same person, and of nobody else.
        assert call["caller_arn"].endswith(f"assumed-role/BrokerHub/{who}")
    assert len(sts.calls()) == 2 * len(people)


# ---- refusals ----


async def test_a_wrong_external_id_is_refused_after_one_attempt(client: StsClient, sts: StrictSts) -> None:
    error = await failure(client, grant(hub="canary-wrong-id"))
    assert isinstance(error, StsRejected)
    assert error.reason == "hop1_access_denied"
    assert len(sts.calls()) == 1
    assert "canary-wrong-id" not in everything_said(error)


@pytest.mark.parametrize("external_id", ["canary-wrong-id", HUB_EXTERNAL_ID, None])
async def test_a_wrong_external_id_at_the_second_hop_leaks_nothing_of_the_first(
    client: StsClient, sts: StrictSts, external_id: str | None
) -> None:
    error = await failure(client, grant(developer=external_id))
    assert isinstance(error, StsRejected)
    assert error.reason == "hop2_access_denied"
    hub, developer = sts.calls()
    assert (hub["outcome"], developer["outcome"]) == ("OK", "AccessDenied")
    assert hub["access_key_id_issued"] not in everything_said(error)
    assert await client.ping() is None, "a refusal is not an illness"


async def test_a_refusal_does_not_stay_with_the_next_attempt(client: StsClient, sts: StrictSts) -> None:
    await failure(client, grant(developer="canary-wrong-id"))
    assert isinstance(await client.assume(grant()), Credentials)


# ---- every way in which STS can be ill ----


@pytest.mark.parametrize("hop", [HUB_ROLE, DEVELOPER_ROLE], ids=["first hop", "second hop"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("html", "malformed_answer"),
        ("empty", "malformed_answer"),
        ("missing_token", "malformed_answer"),
        ("missing_expiration", "malformed_answer"),
        ("past", "other_expiration"),
        ("far", "other_expiration"),
        ("other_account", "other_role"),
        ("other_role", "other_role"),
        ("other_source_identity", "other_source_identity"),
    ],
)
async def test_an_answer_that_must_not_be_used_is_refused_and_not_asked_for_again(
    client: StsClient, sts: StrictSts, kind: str, reason: str, hop: str
) -> None:
    sts.fault(kind, role_arn=hop)
    error = await failure(client, grant())
    assert isinstance(error, StsRejected)
    assert error.reason == reason
    assert len(sts.calls(role_arn=hop)) == 1
    issued = {call["access_key_id_issued"] for call in sts.calls()} - {None}
    assert not any(key in everything_said(error) for key in issued)


async def test_a_denial_at_the_second_hop_is_a_refusal(client: StsClient, sts: StrictSts) -> None:
    sts.fault("deny", role_arn=DEVELOPER_ROLE)
    error = await failure(client, grant())
    assert isinstance(error, StsRejected)
    assert error.reason == "hop2_access_denied"
    assert len(sts.calls()) == 2


async def test_throttling_is_tried_at_most_three_times_in_three_seconds(client: StsClient, sts: StrictSts) -> None:
    sts.fault("throttle")
    started = time.monotonic()
    error = await failure(client, grant())
    assert isinstance(error, StsUnavailable)
    assert error.reason == "sts_throttled"
    assert 2 <= len(sts.calls()) <= 3
    assert time.monotonic() - started < 3.5
    assert await client.ping() == "eu-central-1: sts_throttled"


async def test_throttling_that_passes_is_survived(client: StsClient, sts: StrictSts) -> None:
    sts.fault("throttle", count=1)
    assert isinstance(await client.assume(grant()), Credentials)
    assert await client.ping() is None


async def test_an_sts_that_is_broken_is_unavailable(client: StsClient, sts: StrictSts) -> None:
    sts.fault("error500")
    error = await failure(client, grant())
    assert isinstance(error, StsUnavailable)
    assert error.reason == "sts_broken"
    assert len(sts.calls()) <= 3


@pytest.mark.parametrize("hop", [HUB_ROLE, DEVELOPER_ROLE], ids=["first hop", "second hop"])
async def test_an_sts_that_hangs_is_a_timeout_and_not_hammered(client: StsClient, sts: StrictSts, hop: str) -> None:
    sts.fault("hang", role_arn=hop, seconds=20)
    error = await failure(client, grant())
    assert isinstance(error, StsTimeout)
    assert await client.ping() == "eu-central-1: sts_timeout"
    assert len(sts.calls(role_arn=hop)) <= 2
    sts.clear_faults()
    assert isinstance(await client.assume(grant()), Credentials)


async def test_waiters_of_a_hanging_sts_leave_the_event_loop_free(client: StsClient, sts: StrictSts) -> None:
    sts.fault("hang", seconds=20)
    waiting = [asyncio.ensure_future(client.assume(grant(who=f"u{number}@EXAMPLE.COM"))) for number in range(200)]
    worst = 0.0
    while not all(task.done() for task in waiting):
        before = time.monotonic()
        await asyncio.sleep(0.01)
        worst = max(worst, time.monotonic() - before - 0.01)
    assert {type(task.exception()) for task in waiting} == {StsTimeout}
    assert worst < 1.0  # the promise is 50 ms on a quiet machine
    # Tries that nobody waits for any more are not made: the threads are free again soon after, for a healthy STS.
    asked = len(sts.calls())
    sts.clear_faults()
    await asyncio.sleep(2)
    assert isinstance(await client.assume(grant()), Credentials)
    assert len(sts.calls()) == asked + 2


async def test_a_thousand_principals_at_once_are_asked_for_within_the_rate_and_each_has_an_answer_in_time(
    sts: StrictSts,
) -> None:
    client = client_of(sts.url, rate=Rate(40, 1))
    started = time.monotonic()
    try:
        answers = await asyncio.gather(
            *(client.assume(grant(who=f"u{number}@EXAMPLE.COM")) for number in range(1000)), return_exceptions=True
        )
    finally:
        client.close()
    assert time.monotonic() - started < PROMISED_SECONDS
    assert {type(answer) for answer in answers} == {Credentials, Overloaded}
    times = [datetime.fromisoformat(call["time"]).timestamp() for call in sts.calls()]
    # Half of a tenth more, because what is counted is when a call arrives.
    assert max(sum(begins <= moment < begins + 1 for moment in times) for begins in times) <= 42
    # Forty a second, where the machine has the time for so many.
    assert sum(isinstance(answer, Credentials) for answer in answers) >= 5


@pytest.mark.parametrize(
    ("kind", "reason"), [("clock_skew", "clock_skew"), ("expired_base", "base_credentials_expired")]
)
async def test_a_fault_of_our_own_is_told_apart_from_a_refusal(
    client: StsClient, sts: StrictSts, kind: str, reason: str
) -> None:
    sts.fault(kind)
    error = await failure(client, grant())
    assert isinstance(error, StsUnavailable)
    assert error.reason == reason


async def test_an_sts_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = client_of(f"http://127.0.0.1:{port}")
    try:
        error = await failure(client, grant())
        assert isinstance(error, StsUnavailable)
        assert error.reason == "sts_unreachable"
    finally:
        client.close()


async def test_wrong_base_keys_are_refused_and_not_shown(sts: StrictSts) -> None:
    base = GivenCredentials(access_key_id=BROKER_ACCESS_KEY_ID, secret_key="canary-secret" * 3, session_token=None)
    client = client_of(sts.url, base=base)
    try:
        error = await failure(client, grant())
        assert isinstance(error, StsRejected)
        assert error.reason == "base_credentials_refused"
        assert "canary-secret" not in everything_said(error)
    finally:
        client.close()


async def test_credentials_of_a_ticket_that_ends_end_with_it_though_sts_throttles_first(sts: StrictSts) -> None:
    sts.clear()
    sts.fault("throttle", count=1, role_arn=DEVELOPER_ROLE)
    client, now = client_of(sts.url), datetime.now(UTC)
    ends_at = int(now.timestamp()) + 40 * 60
    try:
        found = await client.assume(replace(grant(lifetime=timedelta(minutes=40)), ends_at=ends_at))
    finally:
        client.close()
    assert [call["outcome"] for call in sts.calls()] == ["OK", "Throttling", "OK"]
    assert found.expiration.timestamp() <= ends_at
