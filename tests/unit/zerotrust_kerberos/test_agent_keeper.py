"""What an agent keeps, for how long, and how often it asks. The loop's clock and the wall's are turned by the tests."""

from __future__ import annotations

import asyncio
import time

import pytest

from broker import wire
from tests.fakes.front_door import CREDENTIALS
from zerotrust_kerberos.agent.keeper import AHEAD, LEAST, Keeper, Wanted
from zerotrust_kerberos.agent.supply import seconds_of
from zerotrust_kerberos.failures import Failure

HOUR = 3600.0
ALICE = Wanted(principal="alice@EXAMPLE.COM", login=1_799_990_000, role="developer", scope=None, reason=None)


class Broker:
    """Answers when it is told to; ``asked`` counts."""

    def __init__(self, life: float) -> None:
        self.now = 1_800_000_000.0
        self.life = life
        self.asked = 0
        self.flights: list[asyncio.Future[bytes | Failure]] = []

    def fetch(self) -> asyncio.Future[bytes | Failure]:
        self.asked += 1
        self.flights.append(asyncio.get_running_loop().create_future())
        return self.flights[-1]

    def body(self) -> bytes:
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now + self.life))
        return wire.credentials_body(**{**CREDENTIALS, "access_key_id": f"ASIA{self.asked}", "expiration": ends})

    async def answer(self, failure: Failure | None = None) -> None:
        await asyncio.sleep(0)
        self.flights.pop(0).set_result(failure or self.body())
        await asyncio.sleep(0)


async def passing(broker: Broker, seconds: float) -> None:
    """Time goes by, for both clocks; the loop is the test's own and ends with it."""
    loop, before = asyncio.get_running_loop(), asyncio.get_running_loop().time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]
    broker.now += seconds
    for _ in range(3):
        await asyncio.sleep(0)


def made(life: float = HOUR, *, chance: float = 0.0) -> tuple[Keeper, Broker]:
    broker = Broker(life)
    return Keeper(now=lambda: broker.now, chance=lambda: chance), broker


async def first(keeper: Keeper, broker: Broker, wanted: Wanted = ALICE) -> bytes:
    asking = asyncio.ensure_future(keeper.credentials(wanted, broker.fetch))
    await broker.answer()
    return await asking


async def test_who_asks_while_somebody_is_asking_gets_the_same_answer() -> None:
    keeper, broker = made()
    asking = [asyncio.ensure_future(keeper.credentials(ALICE, broker.fetch)) for _ in range(100)]
    await broker.answer()
    assert len({await each for each in asking}) == 1
    assert broker.asked == 1


async def test_who_hangs_up_takes_the_answer_from_nobody() -> None:
    keeper, broker = made()
    gone, stays = (asyncio.ensure_future(keeper.credentials(ALICE, broker.fetch)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await broker.answer()
    assert b"ASIA1" in await stays


@pytest.mark.parametrize("change", ["principal", "login", "role", "scope", "reason"])
async def test_nothing_is_shared_that_aws_would_record_otherwise(change: str) -> None:
    keeper, broker = made()
    await first(keeper, broker)
    assert b"ASIA2" in await first(keeper, broker, ALICE._replace(**{change: "another"}))
    assert b"ASIA1" in await keeper.credentials(ALICE, broker.fetch)


async def test_questions_without_end_are_no_processes_without_end() -> None:
    keeper, broker = made()
    many = [ALICE._replace(reason=str(number)) for number in range(100)]
    asking = [asyncio.ensure_future(keeper.credentials(wanted, broker.fetch)) for wanted in many]
    await asyncio.sleep(0)
    asked = broker.asked
    assert asked < 100
    refused = [each for each in asking if each.done()]
    assert {getattr(each.exception(), "code", "") for each in refused} == {"output_failed"}
    assert len(refused) == 100 - asked
    for _ in range(asked):
        await broker.answer()
    assert b"ASIA" in await first(keeper, broker, ALICE._replace(reason="later"))


async def test_a_refusal_is_for_those_who_wait_and_is_not_kept() -> None:
    keeper, broker = made()
    asking = [asyncio.ensure_future(keeper.credentials(ALICE, broker.fetch)) for _ in range(2)]
    await broker.answer(Failure("access_denied"))
    for each in asking:
        with pytest.raises(Failure, match="access_denied"):
            await each
    assert keeper.is_idle
    assert b"ASIA2" in await first(keeper, broker)


async def test_what_is_used_is_renewed_ahead_and_nobody_waits_for_it() -> None:
    keeper, broker = made()
    await first(keeper, broker)
    await passing(broker, HOUR - AHEAD + 1)
    assert broker.asked == 2
    assert b"ASIA1" in await keeper.credentials(ALICE, broker.fetch)
    await broker.answer()
    assert b"ASIA2" in await keeper.credentials(ALICE, broker.fetch)
    assert broker.asked == 2


async def test_not_all_machines_renew_at_once() -> None:
    keeper, broker = made(chance=1.0)
    await first(keeper, broker)
    await passing(broker, HOUR - AHEAD - 119)
    assert broker.asked == 2


async def test_what_nobody_used_is_forgotten_instead_of_renewed() -> None:
    keeper, broker = made()
    await first(keeper, broker)
    await passing(broker, HOUR - AHEAD + 1)
    await broker.answer()
    await passing(broker, HOUR - AHEAD + 1)
    assert broker.asked == 2
    assert keeper.is_idle


async def test_less_than_fifteen_minutes_is_handed_out_by_the_broker_only() -> None:
    keeper, broker = made()
    await first(keeper, broker)
    await passing(broker, HOUR - AHEAD + 1)
    await broker.answer(Failure("broker_unreachable"))
    assert b"ASIA1" in await keeper.credentials(ALICE, broker.fetch)
    await passing(broker, AHEAD - LEAST)
    asking = asyncio.ensure_future(keeper.credentials(ALICE, broker.fetch))
    await broker.answer(Failure("broker_unreachable"))
    with pytest.raises(Failure, match="broker_unreachable"):
        await asking


async def test_a_wall_clock_that_went_on_while_the_machine_slept_counts() -> None:
    keeper, broker = made()
    await first(keeper, broker)
    broker.now += HOUR - LEAST + 1  # the loop's clock stood still
    assert b"ASIA2" in await first(keeper, broker)


@pytest.mark.parametrize("life", [600.0, float(LEAST)])
async def test_short_credentials_are_handed_on_and_not_kept(life: float) -> None:
    keeper, broker = made(life)
    await first(keeper, broker)
    assert keeper.is_idle


async def test_credentials_of_twenty_minutes_are_not_renewed_over_and_over() -> None:
    keeper, broker = made(AHEAD)
    await first(keeper, broker)
    await passing(broker, AHEAD / 2 - 5)
    assert broker.asked == 1


async def test_what_has_no_end_is_not_kept() -> None:
    keeper, broker = made()
    asking = asyncio.ensure_future(keeper.credentials(ALICE, broker.fetch))
    await asyncio.sleep(0)
    broker.flights.pop().set_result(b"{}")
    assert await asking == b"{}"
    assert keeper.is_idle


async def test_a_script_gone_wrong_fills_no_memory() -> None:
    keeper, broker = made()
    for number in range(300):
        await first(keeper, broker, ALICE._replace(reason=str(number)))
    assert len(keeper._entries) == 256


@pytest.mark.parametrize(("text", "seconds"), [("20m", 1200), ("12h", 43200), ("7d", 604800)])
def test_a_pass_is_for_twenty_minutes_to_seven_days(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "19m", "8d", "12", "-1h", "all night", "1e3h"])
def test_a_pass_is_for_no_other_time(text: str) -> None:
    with pytest.raises(Failure, match="usage"):
        seconds_of(text)
