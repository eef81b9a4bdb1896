"""A master key in a file wraps as any other master does, and rotates by what is put in its place."""

from __future__ import annotations

import pytest

from broker.keys.envelope import CannotOpen
from broker.keys.master.local import LocalMaster
from broker.keys.master.port import MasterKey

OLD, NEW, KEY = bytes(32), bytes(range(32)), b"k" * 32


async def test_what_was_wrapped_opens_in_its_context_and_in_no_other() -> None:
    master: MasterKey = LocalMaster(keys=[OLD])
    blob = await master.wrap(KEY, context=b"kek/1")
    assert await LocalMaster(keys=[OLD]).unwrap(blob, context=b"kek/1") == KEY
    with pytest.raises(CannotOpen, match="altered"):
        await master.unwrap(blob, context=b"kek/2")
    assert await master.ping() is None
    await master.close()


async def test_every_flipped_bit_is_refused() -> None:
    master = LocalMaster(keys=[OLD])
    blob = await master.wrap(KEY, context=b"c")
    for bit in range(len(blob) * 8):
        flipped = (int.from_bytes(blob) ^ 1 << bit).to_bytes(len(blob))
        with pytest.raises(CannotOpen):
            await master.unwrap(flipped, context=b"c")


async def test_after_another_key_took_over_the_old_ones_blobs_open_and_are_due() -> None:
    old, new = LocalMaster(keys=[OLD]), LocalMaster(keys=[NEW, OLD])
    blob = await old.wrap(KEY, context=b"c")
    assert await new.unwrap(blob, context=b"c") == KEY
    assert (await old.is_newest(blob), await new.is_newest(blob)) == (True, False)
    assert await new.is_newest(await new.wrap(KEY, context=b"c"))
    with pytest.raises(CannotOpen, match="unknown_key"):
        await LocalMaster(keys=[NEW]).unwrap(blob, context=b"c")


def test_its_name_is_the_same_after_every_start_and_of_this_key_alone() -> None:
    assert LocalMaster(keys=[OLD]).id == LocalMaster(keys=[OLD, NEW]).id != LocalMaster(keys=[NEW]).id
    assert LocalMaster(keys=[OLD]).id.startswith("local:")


def test_a_key_of_another_length_is_refused() -> None:
    for keys in ([bytes(31)], [OLD, bytes(16)], []):
        with pytest.raises(ValueError, match="key"):
            LocalMaster(keys=keys)
