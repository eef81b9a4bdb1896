"""Regions that fail in every way, and the next one that answers. One strict STS stands for all, told apart by what they sign."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from broker.core.clock import SystemClock
from broker.core.errors import StsDenied, StsError, StsRejected, StsTimeout, StsUnavailable
from broker.sts.chain import plan
from broker.sts.client import StsClient
from broker.sts.endpoint import Region, endpoints
from tests.fakes.sts import StrictSts, demo_world
from tests.fakes.sts.demo import DEVELOPER_ROLE, HUB_ROLE
from tests.integration.test_sts_client import BASE, REGIONS, client_of, failure, grant

FIRST, SECOND, THIRD, _ = REGIONS

Make = Callable[..., StsClient]


class AheadClock(SystemClock):
    """The machine's clocks, of which the one that nobody can set is ahead by what the test says."""

    ahead = timedelta(0)

    def boottime(self) -> float:
        return super().boottime() + self.ahead.total_seconds()


@pytest.fixture(scope="module")
def running() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as sts:
        yield sts


@pytest.fixture
def sts(running: StrictSts) -> StrictSts:
    running.clear()
    return running


@pytest.fixture
def make(sts: StrictSts) -> Iterator[Make]:
    """Clients with some regions, which are closed in the end."""
    made: list[StsClient] = []

    def build(regions: int = 2, **options: Any) -> StsClient:
        made.append(client_of(*[sts.url] * regions, **options))
        return made[-1]

    yield build
    for client in made:
        client.close()


@pytest.fixture
def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def asked(sts: StrictSts, role_arn: str | None = None) -> list[str]:
    """In which region each call was made, in order."""
    return [call["region"] for call in sts.calls(role_arn=role_arn)]


@pytest.mark.parametrize("hop", [HUB_ROLE, DEVELOPER_ROLE], ids=["first hop", "second hop"])
@pytest.mark.parametrize("kind", ["html", "empty", "error500"])
async def test_a_sick_region_is_followed_by_the_next_which_takes_what_earlier_hops_gave(
    make: Make, sts: StrictSts, kind: str, hop: str
) -> None:
    sts.fault(kind, role_arn=hop, region=FIRST)
    credentials = await make().assume(grant())
    assert credentials.role_arn == DEVELOPER_ROLE
    assert asked(sts, hop) == [FIRST, SECOND]
    hub, *_, developer = sts.calls()
    assert (hub["role_arn"], developer["region"]) == (HUB_ROLE, SECOND)


async def test_a_region_that_hangs_leaves_the_next_enough_time(make: Make, sts: StrictSts) -> None:
    sts.fault("hang", region=FIRST, seconds=20)
    client = make()
    started = time.monotonic()
    assert (await client.assume(grant())).role_arn == DEVELOPER_ROLE
    assert time.monotonic() - started < 4.5
    assert asked(sts) == [FIRST, SECOND, SECOND], "the second hop does not find out again"
    assert await client.ping() == f"{FIRST}: sts_timeout"


async def test_a_region_that_is_not_there_is_followed_by_the_next(make: Make, sts: StrictSts, closed_port: str) -> None:
    client = client_of(closed_port, sts.url)
    try:
        assert (await client.assume(grant())).role_arn == DEVELOPER_ROLE
        assert asked(sts) == [SECOND, SECOND]
        assert await client.ping() == f"{FIRST}: sts_unreachable"
    finally:
        client.close()


@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("hang", StsTimeout, "sts_timeout"),
        ("error500", StsUnavailable, "sts_broken"),
        ("html", StsRejected, "malformed_answer"),
        ("throttle", StsUnavailable, "sts_throttled"),
    ],
)
async def test_where_every_region_fails_the_answer_comes_within_the_time_of_one(
    make: Make, sts: StrictSts, kind: str, error: type[StsError], reason: str
) -> None:
    sts.fault(kind, seconds=20 if kind == "hang" else None)
    failed = await failure(make(3), grant())
    assert (type(failed), failed.reason) == (error, reason)
    # Within its time each has been asked; whoever throttles is asked a second time.
    assert asked(sts) == ([FIRST, FIRST, SECOND] if kind == "throttle" else [FIRST, SECOND, THIRD])


@pytest.mark.parametrize("kind", ["deny", "missing_token", "past", "other_account", "clock_skew"])
async def test_a_refusal_and_an_answer_of_sts_that_cannot_be_believed_are_asked_nowhere_else(
    make: Make, sts: StrictSts, kind: str
) -> None:
    sts.fault(kind, region=FIRST)
    failed = await failure(make(), grant())
    assert isinstance(failed, StsDenied) == (kind == "deny")
    assert asked(sts) == [FIRST]


async def test_throttling_is_met_with_patience_first_and_with_the_next_regions_own_quota_then(
    make: Make, sts: StrictSts
) -> None:
    sts.fault("throttle", region=FIRST, role_arn=HUB_ROLE)
    client = make()
    await client.assume(grant())
    assert asked(sts, HUB_ROLE) == [FIRST, FIRST, SECOND]
    first, again, _ = sts.calls(role_arn=HUB_ROLE)
    assert again["time"] > first["time"]
    assert asked(sts, DEVELOPER_ROLE) == [FIRST], "a quota is refilled every second: no reason to stay away"


async def test_a_region_that_failed_is_asked_last_for_a_while_and_found_well_again_by_one(
    make: Make, sts: StrictSts
) -> None:
    clock = AheadClock()
    client = make(clock=clock)
    sts.fault("error500", region=FIRST)
    await client.assume(grant())
    sts.clear()
    await client.assume(grant())
    assert asked(sts) == [SECOND, SECOND]
    clock.ahead = timedelta(seconds=11)
    sts.clear()
    sts.fault("error500", region=FIRST)
    await asyncio.gather(*(client.assume(grant(who=f"u{number}@EXAMPLE.COM")) for number in range(5)))
    assert Counter(asked(sts))[FIRST] == 1, "one finds out, for all"
    clock.ahead = timedelta(seconds=22)
    sts.clear()
    await client.assume(grant())
    assert asked(sts) == [FIRST, FIRST]
    assert await client.ping() is None


async def test_each_call_that_fails_is_counted_by_region_and_reason(make: Make, sts: StrictSts) -> None:
    counted: Counter[tuple[str, str]] = Counter()
    client = make(on_failure=lambda region, reason: counted.update([(region, reason)]))
    sts.fault("html", region=FIRST, count=1)
    await client.assume(grant())
    await failure(client, grant(developer="wrong-id"))
    assert counted == {(FIRST, "malformed_answer"): 1, (SECOND, "hop2_access_denied"): 1}


async def test_a_hanging_region_holds_up_nobody_once_it_is_known(make: Make, sts: StrictSts) -> None:
    sts.fault("hang", region=FIRST, seconds=20)
    client = make()
    await asyncio.gather(*(client.assume(grant(who=f"u{number}@EXAMPLE.COM")) for number in range(40)))
    started = time.monotonic()
    await client.assume(grant())
    assert time.monotonic() - started < 2, "although all threads of the other region still hang"


@pytest.mark.parametrize("legacy", ["variable", "file"])
async def test_every_region_is_asked_at_its_own_endpoint_whatever_the_sdk_is_told_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, legacy: str
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.delenv(name)
    if legacy == "variable":
        monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")
    else:
        config = tmp_path / "config"
        config.write_text("[default]\nsts_regional_endpoints = legacy\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    regions = [Region("eu-central-1", None), Region("eu-west-1", None)]
    asked = []
    for endpoint in endpoints(regions, patience=timedelta(seconds=1)):

        def note(request: Any, **_: Any) -> None:
            asked.append(request.url)
            raise ConnectionClosedError(endpoint_url=request.url)

        endpoint._client.meta.events.register("before-send.sts", note)
        with pytest.raises(StsUnavailable):
            await endpoint.assume(plan(grant())[0], signing=await BASE.current(), place=1)
        endpoint.close()
    assert asked == ["https://sts.eu-central-1.amazonaws.com/", "https://sts.eu-west-1.amazonaws.com/"]


@pytest.mark.parametrize("fault", ["profile", "config", "credentials", "endpoints"])
def test_no_file_or_variable_of_the_sdks_keeps_the_broker_from_starting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("no section\n= =\n")
    variables = {
        "profile": ("AWS_PROFILE", "not-there"),
        "config": ("AWS_CONFIG_FILE", str(broken)),
        "credentials": ("AWS_SHARED_CREDENTIALS_FILE", str(broken)),
        "endpoints": ("AWS_STS_REGIONAL_ENDPOINTS", "bogus"),
    }
    monkeypatch.setenv(*variables[fault])
    for endpoint in endpoints([Region("eu-central-1", None)], patience=timedelta(seconds=1)):
        endpoint.close()
