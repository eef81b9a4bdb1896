"""A master key in a real OpenBao: versions, contexts, and a vault that is sealed, away, or knows our token no more."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator

import pytest

from broker.core.secret import Secret
from broker.keys.envelope import CannotOpen
from broker.keys.master.port import MasterKey, MasterRefused, MasterUnavailable, Rotatable
from broker.keys.master.vault_transit import VaultTransitMaster
from broker.remote.hashicorp.login import AppRole, Given, Login
from broker.remote.hashicorp.transit import Transit
from broker.remote.hashicorp.vault import Vault
from tests.fakes.audit import SetClock
from tests.fakes.bao import BaoError, BaoServer
from tests.fakes.bao_client import approle, wire_of

KEY = bytes(range(32))
MOUNT = "master-transit"
# As docs/hsm.md prints it.
POLICY = """
path "{mount}/encrypt/{key}"     {{ capabilities = ["update"] }}
path "{mount}/decrypt/{key}"     {{ capabilities = ["update"] }}
path "{mount}/keys/{key}"        {{ capabilities = ["read"] }}
path "{mount}/keys/{key}/rotate" {{ capabilities = ["update"] }}
"""


def make_key(bao: BaoServer, **settings: object) -> str:
    """A key of its own for a test, and a policy of its name."""
    if f"{MOUNT}/" not in bao.api("GET", "sys/mounts")["data"]:
        bao.mount(MOUNT, "transit")
    key = f"master-{secrets.token_hex(4)}"
    bao.api("POST", f"{MOUNT}/keys/{key}", dict(settings))
    bao.policy(key, POLICY.format(mount=MOUNT, key=key))
    return key


def master_on(bao: BaoServer, key: str, login: Login) -> VaultTransitMaster:
    vault = Vault(wire=wire_of(bao), login=login, clock=SetClock())
    return VaultTransitMaster(
        transit=Transit(vault=vault, key=key, mount=MOUNT), name=f"{MOUNT}/{key}", clock=SetClock()
    )


@pytest.fixture
def key(bao: BaoServer) -> str:
    return make_key(bao)


@pytest.fixture
def role(bao: BaoServer, key: str) -> AppRole:
    return approle(bao, key, key)


@pytest.fixture
async def master(bao: BaoServer, key: str, role: AppRole) -> AsyncIterator[VaultTransitMaster]:
    made = master_on(bao, key, role)
    yield made
    await made.close()


async def test_what_it_wrapped_opens_in_its_context_and_in_no_other(master: VaultTransitMaster) -> None:
    port: MasterKey = master
    blob = await port.wrap(KEY, context=b"kek/1")
    assert await port.unwrap(blob, context=b"kek/1") == KEY
    with pytest.raises(CannotOpen, match="altered"):
        await port.unwrap(blob, context=b"kek/2")
    assert await port.ping() is None


async def test_altered_blobs_and_none_at_all_are_refused_and_the_master_stays_well(master: VaultTransitMaster) -> None:
    blob = await master.wrap(KEY, context=b"c")
    for bit in range(0, len(blob) * 8, 29):
        flipped = (int.from_bytes(blob) ^ 1 << bit).to_bytes(len(blob))
        with pytest.raises(CannotOpen):
            await master.unwrap(flipped, context=b"c")
    for nothing in (b"", b"vault:v1:", b"\xff"):
        with pytest.raises(CannotOpen):
            await master.unwrap(nothing, context=b"c")
    assert master.failure is None


async def test_a_new_version_wraps_and_the_old_ones_blobs_open_and_are_due(master: VaultTransitMaster) -> None:
    old = await master.wrap(KEY, context=b"c")
    assert isinstance(master, Rotatable)
    await master.rotate()
    new = await master.wrap(KEY, context=b"c")
    assert [await master.is_newest(blob) for blob in (old, new, b"\xff", b"x")] == [False, True, False, False]
    assert await master.unwrap(old, context=b"c") == await master.unwrap(new, context=b"c") == KEY


async def test_a_key_that_can_be_exported_or_is_too_short_is_refused(bao: BaoServer) -> None:
    for settings, fault in (({"exportable": True}, "can be exported"), ({"type": "aes128-gcm96"}, "is aes128-gcm96")):
        key = make_key(bao, **settings)
        master = master_on(bao, key, approle(bao, key, key))
        with pytest.raises(MasterRefused, match=fault):
            await master.wrap(KEY, context=b"c")
        await master.close()


async def test_a_vault_that_is_sealed_stopped_and_back_is_missed_in_time_and_used_again(
    bao: BaoServer, master: VaultTransitMaster
) -> None:
    blob = await master.wrap(KEY, context=b"c")
    bao.seal()
    with pytest.raises(MasterUnavailable, match="sealed"):
        await master.unwrap(blob, context=b"c")
    bao.unseal()
    assert await master.ping() is None
    bao.stop()
    started = time.monotonic()
    with pytest.raises(MasterUnavailable):
        await master.unwrap(blob, context=b"c")
    assert await master.ping() is not None
    assert time.monotonic() - started < 40  # two askings of four seconds, on a busy machine
    bao.restart()
    with pytest.raises(MasterUnavailable, match="sealed"):
        await master.unwrap(blob, context=b"c")
    bao.unseal()
    assert await master.unwrap(blob, context=b"c") == KEY
    assert await master.ping() is None


async def test_a_token_that_ended_costs_a_login_and_a_given_one_an_operator(
    bao: BaoServer, key: str, master: VaultTransitMaster
) -> None:
    blob = await master.wrap(KEY, context=b"c")
    for accessor in bao.api("LIST", "auth/token/accessors")["data"]["keys"]:
        # Those of other tests end meanwhile.
        with contextlib.suppress(BaoError):
            if key in bao.api("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]["policies"]:
                bao.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    assert await master.unwrap(blob, context=b"c") == KEY
    token = bao.token(key)
    given = master_on(bao, key, Given(Secret(token)))
    assert await given.unwrap(blob, context=b"c") == KEY
    bao.api("POST", "auth/token/revoke", {"token": token})
    with pytest.raises(MasterRefused):
        await given.unwrap(blob, context=b"c")
    assert token not in str(await given.ping())
    await given.close()
