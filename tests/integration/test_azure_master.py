"""A master key in Azure Key Vault, by Microsoft's SDK against a strict one on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from secrets import token_hex

import pytest

from broker.core.secret import Secret
from broker.keys.envelope import CannotOpen
from broker.keys.master.azure_key import AzureKeyMaster
from broker.keys.master.port import MasterKey, MasterRefused, MasterUnavailable, Rotatable
from broker.remote.azure import AzureLogin, AzureVault
from broker.remote.azure_key import AzureKey
from tests.fakes.audit import SetClock
from tests.fakes.azure import AzureCloud

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureCloud]:
    # The SDK keeps challenges for the life of the process, by the vault's name.
    with AzureCloud(tmp_path_factory.mktemp("azure"), vault=f"zerotrust-{token_hex(4)}") as running, running.named():
        running.vault.keys.make("master")
        yield running


@pytest.fixture
async def master(cloud: AzureCloud) -> AsyncIterator[AzureKeyMaster]:
    login = AzureLogin(
        tenant_id=cloud.entra.tenant,
        client_id=cloud.entra.application,
        client_secret=lambda: Secret(cloud.secret),
        ca_file=cloud.ca_file,
    )
    key = AzureKey("master", vault=AzureVault(cloud.vault.url, login=login))
    made = AzureKeyMaster(key=key, name=f"{cloud.vault.url}/keys/master", clock=SetClock())
    yield made
    await made.close()
    await cloud.left()


async def test_what_it_wrapped_opens_in_its_context_and_in_no_other(master: AzureKeyMaster) -> None:
    port: MasterKey = master
    blob = await port.wrap(KEY, context=b"kek/1")
    assert await port.unwrap(blob, context=b"kek/1") == KEY
    with pytest.raises(CannotOpen):
        await port.unwrap(blob, context=b"kek/2")
    assert await port.ping() is None


async def test_altered_blobs_are_refused_and_the_master_stays_well(master: AzureKeyMaster) -> None:
    blob = await master.wrap(KEY, context=b"c")
    for bit in range(0, len(blob) * 8, 331):
        flipped = (int.from_bytes(blob) ^ 1 << bit).to_bytes(len(blob))
        with pytest.raises(CannotOpen):
            await master.unwrap(flipped, context=b"c")
    assert master.failure is None


async def test_a_new_version_wraps_and_the_old_ones_blobs_open_and_are_due(master: AzureKeyMaster) -> None:
    old = await master.wrap(KEY, context=b"c")
    assert isinstance(master, Rotatable)
    await master.rotate()
    new = await master.wrap(KEY, context=b"c")
    assert [await master.is_newest(blob) for blob in (old, new, b"{}")] == [False, True, False]
    assert await master.unwrap(old, context=b"c") == KEY


async def test_a_vault_that_throttles_or_is_broken_says_so_and_is_used_again(
    cloud: AzureCloud, master: AzureKeyMaster
) -> None:
    blob = await master.wrap(KEY, context=b"c")
    for fault in ("throttle", "error500", "html"):
        cloud.fail(fault)
        with pytest.raises(MasterUnavailable):
            await master.unwrap(blob, context=b"c")
        assert master.failure is not None
        cloud.recover()
        assert await master.ping() is None


async def test_a_vault_that_turns_us_away_is_told_from_one_that_is_away(cloud: AzureCloud) -> None:
    login = AzureLogin(
        tenant_id=cloud.entra.tenant,
        client_id=cloud.entra.application,
        client_secret=lambda: Secret("canary-4711"),
        ca_file=cloud.ca_file,
    )
    key = AzureKey("master", vault=AzureVault(cloud.vault.url, login=login))
    master = AzureKeyMaster(key=key, name="x", clock=SetClock())
    with pytest.raises(MasterRefused) as refused:
        await master.wrap(KEY, context=b"c")
    assert "canary-4711" not in str(refused.value)
    await master.close()
    await cloud.left()
