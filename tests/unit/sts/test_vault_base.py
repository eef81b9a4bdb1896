"""The broker's own keys out of a vault: when they are read again, and what goes on meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from broker.core.errors import StsUnavailable
from broker.core.secret import Secret
from broker.sts.vault_base import Keys, VaultCredentials

TTL = timedelta(minutes=5)


class Machine:
    """A clock that is set, and a vault that gives the next keys each time."""

    def __init__(self, *, lasts: float | None = None) -> None:
        self.seconds = 1000.0
        self.asked = 0
        self.lasts = lasts
        self.is_away = False
        self.gate = asyncio.Event()
        self.gate.set()

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def boottime(self) -> float:
        return self.seconds

    async def read(self) -> Keys:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.is_away:
            raise StsUnavailable("away", reason="no_base_credentials")
        return Keys(f"AKIANUMBERNUMBER{number:04}", Secret("key"), None, self.lasts)

    def credentials(self) -> VaultCredentials:
        made = VaultCredentials(ttl=TTL, clock=self)
        made.read_from(self.read)
        return made


async def key_id(base: VaultCredentials) -> str:
    found = (await base.current()).access_key
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return str(found)[-2:]


async def test_many_who_wait_for_the_first_keys_ask_once() -> None:
    machine = Machine()
    base = machine.credentials()
    assert {found.access_key[-2:] for found in await asyncio.gather(*(base.current() for _ in range(50)))} == {"01"}
    assert machine.asked == 1


async def test_a_change_is_taken_over_after_the_ttl_while_everybody_goes_on_with_the_old_ones() -> None:
    machine = Machine()
    base = machine.credentials()
    assert [await key_id(base) for _ in range(3)] == ["01"] * 3
    machine.seconds += TTL.total_seconds() - 1
    assert (await key_id(base), machine.asked) == ("01", 1)
    machine.seconds += 1
    machine.gate.clear()
    assert [await key_id(base) for _ in range(5)] == ["01"] * 5
    assert machine.asked == 2, "one look, however many ask"
    machine.gate.set()
    await asyncio.sleep(0.01)
    assert await key_id(base) == "02"


async def test_when_aws_refuses_them_they_are_read_again_at_once() -> None:
    machine = Machine()
    base = machine.credentials()
    assert await key_id(base) == "01"
    await asyncio.gather(base.renew(), base.renew())
    assert (await key_id(base), machine.asked) == ("02", 2)


async def test_a_lease_is_not_read_again_before_it_nears_its_end_and_then_ahead_of_it() -> None:
    machine = Machine(lasts=3600)
    base = machine.credentials()
    assert await key_id(base) == "01"
    machine.seconds += 2 * TTL.total_seconds()
    assert (await key_id(base), machine.asked) == ("01", 1), "each reading makes another user in AWS"
    machine.seconds = 1000 + 3600 * 0.61
    assert await key_id(base) == "01"
    assert (await key_id(base), machine.asked) == ("02", 2)


async def test_what_ends_within_a_chain_is_not_signed_with_any_more() -> None:
    machine = Machine(lasts=3600)
    base = machine.credentials()
    assert await key_id(base) == "01"
    machine.seconds += 3571
    assert await key_id(base) == "02"
    machine.is_away = True
    machine.seconds += 3571
    with pytest.raises(StsUnavailable):
        await base.current()


async def test_a_vault_that_is_away_leaves_the_old_keys_and_is_asked_once_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine()
    base = machine.credentials()
    assert await key_id(base) == "01"
    machine.is_away = True
    machine.seconds += TTL.total_seconds()
    assert [await key_id(base) for _ in range(10)] == ["01"] * 10
    assert machine.asked == 2
    machine.seconds += 1
    assert await key_id(base) == "01"
    assert machine.asked == 3
    assert len(caplog.records) == 1, "one line, not one a request"
    await base.renew()
    assert await key_id(base) == "01", "AWS refused them, and there are no others"
