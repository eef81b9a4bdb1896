"""A master key in a real token: what it wraps, what it refuses, and that it may go and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.core.secret import Secret
from broker.keys.envelope import CannotOpen
from broker.keys.master.distant import FRESH
from broker.keys.master.pkcs11 import Pkcs11Master
from broker.keys.master.port import MasterKey, MasterRefused, MasterUnavailable, Rotatable
from broker.keys.pkcs11 import HsmKey, Token
from tests.fakes.audit import SetClock
from tests.fakes.hsm import MODULE, PIN, TOKEN, WRAPPING_KEY, SoftHsm

KEY = bytes(range(32))


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    made = SoftHsm.make(tmp_path / "hsm")
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.configuration))
    return made


@pytest.fixture
def token() -> Iterator[Token]:
    made = Token(module=MODULE, label=TOKEN, pin=Secret(PIN))
    yield made
    made.close()


def master_in(token: Token, *, label: str = WRAPPING_KEY) -> Pkcs11Master:
    return Pkcs11Master(token=token, label=label, clock=SetClock())


async def test_what_it_wrapped_opens_in_its_context_and_in_no_other(hsm: SoftHsm, token: Token) -> None:
    hsm.make_wrapping_key()
    master: MasterKey = master_in(token)
    blob = await master.wrap(KEY, context=b"kek/1")
    assert KEY not in blob
    assert await master_in(token).unwrap(blob, context=b"kek/1") == KEY
    with pytest.raises(CannotOpen, match="altered"):
        await master.unwrap(blob, context=b"kek/2")
    assert blob != await master.wrap(KEY, context=b"kek/1")
    assert (master.id, await master.ping()) == ("pkcs11:broker/zerotrust-master", None)


async def test_every_flipped_bit_and_every_cut_is_refused_and_the_master_stays_well(hsm: SoftHsm, token: Token) -> None:
    hsm.make_wrapping_key()
    master = master_in(token)
    blob = await master.wrap(KEY, context=b"c")
    opened_by = token.generation
    for bit in range(len(blob) * 8):
        flipped = (int.from_bytes(blob) ^ 1 << bit).to_bytes(len(blob))
        with pytest.raises(CannotOpen):
            await master.unwrap(flipped, context=b"c")
    for length in range(len(blob)):
        with pytest.raises(CannotOpen):
            await master.unwrap(blob[:length], context=b"c")
    assert (master.failure, token.generation) == (None, opened_by), "what is wrong with a blob is no failure of the HSM"


async def test_a_new_version_wraps_and_the_old_ones_blobs_open_and_are_due(hsm: SoftHsm, token: Token) -> None:
    hsm.make_wrapping_key()
    master, elsewhere = master_in(token), master_in(token)
    old = await master.wrap(KEY, context=b"c")
    assert isinstance(master, Rotatable)
    await elsewhere.rotate()
    new = await master.wrap(KEY, context=b"c")
    assert [await master.is_newest(blob) for blob in (old, new)] == [False, True]
    assert await master.unwrap(old, context=b"c") == await elsewhere.unwrap(new, context=b"c") == KEY
    await master.rotate()
    assert not await master.is_newest(new)
    assert await master.unwrap(new, context=b"c") == KEY


async def test_two_hosts_that_rotate_at_once_lose_nothing(hsm: SoftHsm, token: Token) -> None:
    # Each looked before the other had made its key: two of one number.
    hsm.make_wrapping_key(ID="02").make_wrapping_key(ID="02")
    master = master_in(token)
    blobs = [await master.wrap(KEY, context=b"c") for _ in range(3)]
    assert [await master_in(token).unwrap(blob, context=b"c") for blob in blobs] == [KEY] * 3


async def test_a_key_that_can_be_taken_out_or_used_without_a_pin_or_is_of_another_kind_is_refused(
    hsm: SoftHsm, token: Token
) -> None:
    hsm.make_wrapping_key("extractable", EXTRACTABLE=True).make_wrapping_key("readable", SENSITIVE=False)
    hsm.make_wrapping_key("public", PRIVATE=False).make_wrapping_key("short", bits=128)
    for label, fault in (
        ("extractable", "can be taken out"),
        ("readable", "can be taken out"),
        ("public", "without a PIN"),
        ("short", "not AES of 256 bits"),
        ("nowhere", "has no secret key 'nowhere'"),
    ):
        with pytest.raises(MasterUnavailable, match=fault):
            await master_in(token, label=label).wrap(KEY, context=b"c")


async def test_a_new_version_is_as_closed_as_the_first(hsm: SoftHsm, token: Token) -> None:
    hsm.make_wrapping_key()
    master = master_in(token)
    await master.rotate()
    # It passes the same inspection.
    assert await master.unwrap(await master.wrap(KEY, context=b"c"), context=b"c") == KEY


async def test_a_token_that_is_taken_away_is_missed_at_once_and_used_again_when_it_is_back(
    hsm: SoftHsm, token: Token
) -> None:
    hsm.make_wrapping_key()
    master = master_in(token)
    blob = await master.wrap(KEY, context=b"c")
    for _ in range(3):
        hsm.take_away()
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises(MasterUnavailable):
                await master.unwrap(blob, context=b"c")
            with pytest.raises(MasterUnavailable):
                await master.wrap(KEY, context=b"c")
        assert await master.ping() is not None
        assert time.monotonic() - started < 10
        hsm.put_back()
        assert await master.ping() is None
        assert await master.unwrap(blob, context=b"c") == KEY


async def test_it_and_the_key_that_signs_share_the_token_and_wait_for_each_other(hsm: SoftHsm, token: Token) -> None:
    hsm.make_key().make_wrapping_key()
    master, signing = master_in(token), HsmKey(token=token, label="zerotrust-audit")
    wrapped = asyncio.gather(*(master.wrap(KEY, context=b"c") for _ in range(20)))
    signed = asyncio.gather(*(signing.sign(b"a checkpoint") for _ in range(20)))
    assert [await master.unwrap(blob, context=b"c") for blob in await wrapped] == [KEY] * 20
    assert len(await signed) == 20
    assert token.generation == 1


async def test_a_wrong_pin_is_tried_once_for_a_few_more_would_lock_the_token(hsm: SoftHsm) -> None:
    hsm.make_wrapping_key()
    token = Token(module=MODULE, label=TOKEN, pin=Secret("999999"))
    master = master_in(token)
    with pytest.raises(MasterRefused, match="refused the PIN: PinIncorrect"):
        await master.wrap(KEY, context=b"c")
    # From here on the token itself would open with this one.
    token._pin = Secret(PIN)
    for _ in range(5):
        with pytest.raises(MasterRefused, match="refused the PIN"):
            await master.wrap(KEY, context=b"c")
    assert "999999" not in str(await master.ping())


async def test_a_master_that_answered_lately_is_not_asked_by_every_ping(hsm: SoftHsm, token: Token) -> None:
    hsm.make_wrapping_key()
    clock = SetClock()
    master = Pkcs11Master(token=token, label=WRAPPING_KEY, clock=clock)
    assert await master.ping() is None
    hsm.take_away()
    assert await master.ping() is None
    clock.time += FRESH * 1.5
    assert await master.ping() is not None
    assert await master.ping() is not None
    hsm.put_back()
    assert await master.ping() is None
