"""A real token: what it signs, what it refuses to be used for, and that it may go and come back."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from broker.core.secret import Secret
from broker.keys import pkcs11 as adapter
from broker.keys.pkcs11 import HsmKey, HsmUnavailable, Token
from tests.fakes.hsm import KEY, MODULE, PIN, TOKEN, SoftHsm


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    made = SoftHsm.make(tmp_path / "hsm")
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.configuration))
    return made


def key_of(pin: str = PIN, *, label: str = KEY, token: str = TOKEN) -> HsmKey:
    return HsmKey(token=Token(module=MODULE, label=token, pin=Secret(pin)), label=label)


async def test_what_the_token_signs_verifies_with_the_public_half_it_shows(hsm: SoftHsm) -> None:
    hsm.make_key()
    key = key_of()
    public = await key.find()
    public.verify(await key.sign(b"a checkpoint"), b"a checkpoint")
    assert (key.failure, await key.ping()) == (None, None)
    assert public.jwk()["alg"] == "ES256"


async def test_a_token_that_is_taken_away_is_missed_at_once_and_used_again_when_it_is_back(hsm: SoftHsm) -> None:
    hsm.make_key()
    key = key_of()
    await key.sign(b"before")
    hsm.take_away()
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(HsmUnavailable):
            await key.sign(b"while it is away")
    assert time.monotonic() - started < 3
    assert await key.ping() is not None
    hsm.put_back()
    assert await key.ping() is None
    await key.sign(b"after")


async def test_a_token_that_was_away_at_the_start_is_found_when_it_comes(hsm: SoftHsm) -> None:
    hsm.make_key().take_away()
    key = key_of()
    assert await key.ping() is not None
    assert key.public is None
    hsm.put_back()
    assert await key.ping() is None
    assert key.public is not None


async def test_a_key_that_can_be_taken_out_of_the_token_is_refused(hsm: SoftHsm) -> None:
    hsm.make_key(extractable=True)
    with pytest.raises(HsmUnavailable, match="can be taken out"):
        await key_of().sign(b"x")


async def test_a_key_of_another_curve_a_missing_one_and_two_of_a_name_are_refused(hsm: SoftHsm) -> None:
    hsm.make_key("other-curve", curve="secp384r1").make_key("twice").make_key("twice")
    with pytest.raises(HsmUnavailable, match="not of P-256"):
        await key_of(label="other-curve").sign(b"x")
    for label in ("twice", "nowhere"):
        with pytest.raises(HsmUnavailable, match="not exactly one key pair"):
            await key_of(label=label).sign(b"x")
    with pytest.raises(HsmUnavailable, match="NoSuchToken"):
        await key_of(token="another").sign(b"x")


async def test_another_key_of_the_same_name_is_not_taken_for_the_one_that_was_published(
    hsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm.make_key()
    key = key_of()
    await key.find()
    another = SoftHsm.make(tmp_path / "another").make_key()
    hsm.take_away()
    monkeypatch.setenv("SOFTHSM2_CONF", str(another.configuration))
    with pytest.raises(HsmUnavailable, match="not the one it was"):
        await key.sign(b"x")


async def test_a_wrong_pin_is_tried_once_for_a_few_more_would_lock_the_token(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm.make_key()
    key = key_of("999999")
    with pytest.raises(HsmUnavailable, match="PinIncorrect"):
        await key.sign(b"x")
    opened: list[object] = []
    monkeypatch.setattr("pkcs11.lib", lambda *arguments: opened.append(arguments))
    for _ in range(5):
        with pytest.raises(HsmUnavailable, match="refused the PIN"):
            await key.sign(b"x")
    assert opened == []


async def test_a_token_that_hangs_holds_up_neither_the_event_loop_nor_the_next_who_asks(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm.make_key()
    token = Token(module=MODULE, label=TOKEN, pin=Secret(PIN))
    key = HsmKey(token=token, label=KEY)
    await key.find()
    monkeypatch.setattr(adapter, "PATIENCE", adapter.PATIENCE / 15)
    answers = threading.Event()
    hanging = asyncio.ensure_future(token.do(lambda _: answers.wait(20)))
    ticks = 0
    while not hanging.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 5, "the event loop stood still"
    with pytest.raises(HsmUnavailable, match="does not answer"):
        await hanging
    started = time.monotonic()
    with pytest.raises(HsmUnavailable, match="does not answer"):
        await key.sign(b"x")
    assert time.monotonic() - started < 0.1
    answers.set()
    await token._owed
    assert await key.ping() is None


async def test_every_call_is_made_on_one_thread_that_is_not_the_event_loop_s(hsm: SoftHsm) -> None:
    hsm.make_key()
    token = Token(module=MODULE, label=TOKEN, pin=Secret(PIN))
    threads = [await token.do(lambda _: threading.get_ident()) for _ in range(5)]
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
