"""A real OpenBao that is sealed, stopped, frozen or somebody else: what is said, how soon, and that it works again by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.core.clock import SystemClock
from broker.core.secret import Secret
from broker.remote.failure import Refused, Unreachable
from broker.remote.hashicorp.vault import Vault
from broker.remote.tries import PATIENCE
from broker.secrets.providers.hashicorp import HashicorpProvider
from tests.fakes.bao import MOUNT, BaoServer
from tests.fakes.bao_client import approle, vault_of
from tests.fakes.certificates import server_certificate
from tests.fakes.docs import vaults_policy

NAME = "test-faults"
PATH = "faults/x"
# The limit, and what a busy machine adds.
AT_MOST = PATIENCE + 4.0


@dataclass
class Scene:
    server: BaoServer
    vault: Vault
    provider: HashicorpProvider

    async def fails(self, *reasons: str) -> None:
        """To read and to write, each in time, and /readyz says it."""
        for asked in (self.provider.read(PATH), self.provider.write(PATH, {"value": Secret("lost")})):
            began = time.monotonic()
            with pytest.raises(Unreachable) as failure:
                await asked
            assert failure.value.reason in reasons
            assert time.monotonic() - began < AT_MOST
        assert await self.provider.ping() is not None

    async def works(self) -> None:
        assert (await self.provider.read(PATH)).fields["value"].reveal() == "1"
        assert await self.provider.ping() is None


@pytest.fixture
async def scene(bao: BaoServer) -> AsyncIterator[Scene]:
    bao.policy(NAME, vaults_policy())
    bao.api("POST", f"{MOUNT}/data/{PATH}", {"data": {"value": "1"}})
    async with vault_of(bao, approle(bao, NAME, NAME)) as vault:
        provider = HashicorpProvider(vault=vault, mount=MOUNT, leased_mounts=(), clock=SystemClock())
        found = Scene(bao, vault, provider)
        await found.works()
        yield found
        bao.renew()


async def test_sealed_stopped_started_again_and_unsealed_each_is_said_and_the_last_needs_nobody_here(
    scene: Scene,
) -> None:
    scene.server.seal()
    await scene.fails("sealed")
    assert "sealed" in str(await scene.provider.ping())
    scene.server.stop()
    await scene.fails("unreachable")
    scene.server.restart()
    await scene.fails("sealed")
    scene.server.unseal()
    await scene.works()


async def test_a_frozen_vault_holds_nobody_up_and_goes_on_where_it_was(scene: Scene) -> None:
    scene.server.freeze()
    began = time.monotonic()
    asked = [*(scene.provider.read(PATH) for _ in range(30)), scene.provider.write(PATH, {"value": Secret("lost")})]
    waiting = asyncio.gather(*asked, return_exceptions=True)
    ticks = 0
    while not waiting.done():
        await asyncio.sleep(0.05)
        ticks += 1
    assert {getattr(outcome, "reason", None) for outcome in await waiting} == {"timeout"}
    said = {str(outcome) for outcome in await waiting} | {await scene.provider.ping()}
    assert said == {f"no answer from {scene.server.url} in time"}, "a log that tells it once must know it again"
    assert time.monotonic() - began < AT_MOST
    assert ticks > 10  # the loop went on meanwhile
    assert "time" in str(await scene.provider.ping())
    scene.server.thaw()
    await scene.works()


async def test_what_the_vault_says_of_a_refusal_is_one_line_without_its_frame(scene: Scene) -> None:
    with pytest.raises(Refused) as refusal:
        await scene.vault.ask("GET", "sys/policies/acl", is_repeatable=True)
    assert str(refusal.value) == "the vault refuses it: permission denied; check the policies of the broker's token"


async def test_a_vault_that_is_frozen_before_the_first_login_is_a_failure_in_time(bao: BaoServer) -> None:
    async with vault_of(bao, approle(bao, NAME, NAME)) as vault:
        bao.freeze()
        began = time.monotonic()
        with pytest.raises(Unreachable):
            await vault.ask("GET", f"{MOUNT}/data/{PATH}", is_repeatable=True)
        assert time.monotonic() - began < AT_MOST


async def test_a_certificate_of_another_authority_and_of_another_name_are_refused_before_anything_is_sent(
    bao: BaoServer, tmp_path: Path
) -> None:
    stranger = server_certificate(tmp_path, "ecdsa-sha256").certificate
    other_name = bao.url.replace("localhost", "127.0.0.1")
    for place in ({"ca_file": stranger}, {"url": other_name}):
        async with vault_of(bao, approle(bao, NAME, NAME), **place) as vault:
            with pytest.raises(Unreachable, match=r"no TLS with .* that can be trusted") as failure:
                await vault.ask("GET", f"{MOUNT}/data/{PATH}", is_repeatable=True)
            assert failure.value.reason == "tls"
            assert await vault.ping() is not None


async def test_closing_with_a_vault_that_is_gone_does_not_wait_for_it(scene: Scene) -> None:
    scene.server.freeze()
    async with asyncio.timeout(AT_MOST):
        await scene.vault.close()


async def test_the_first_write_after_a_restart_is_written_once(scene: Scene) -> None:
    """The connections that were kept open are dead by then."""
    scene.server.restart()
    scene.server.unseal()

    def newest() -> int:
        return int(scene.server.api("GET", f"{MOUNT}/metadata/{PATH}")["data"]["current_version"])

    before = newest()
    await scene.provider.write(PATH, {"value": Secret("1")})
    assert newest() == before + 1
