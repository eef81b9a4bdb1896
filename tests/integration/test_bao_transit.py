"""The transit engine of a real OpenBao: encrypts, decrypts, rotates and wraps anew for the product's client."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from broker.remote.failure import Missing, Refused, Unreachable
from broker.remote.hashicorp.transit import CIPHERTEXT_REFUSED, Item, Transit, version_of
from tests.fakes.bao import BaoServer
from tests.fakes.bao_client import approle, vault_of

KEY, OTHER = "test-transit", "test-transit-other"
# What the client needs, and what rotating takes besides. The engine makes no key for who may only update.
POLICY = f"""
path "transit/encrypt/{KEY}"     {{ capabilities = ["update"] }}
path "transit/decrypt/{KEY}"     {{ capabilities = ["update"] }}
path "transit/rewrap/{KEY}"      {{ capabilities = ["update"] }}
path "transit/keys/{KEY}"        {{ capabilities = ["read"] }}
path "transit/keys/{KEY}/rotate" {{ capabilities = ["update"] }}
path "transit/+/absent"          {{ capabilities = ["update", "read"] }}
"""


@pytest.fixture
async def transit(bao: BaoServer) -> AsyncIterator[Transit]:
    if "transit/" not in bao.api("GET", "sys/mounts")["data"]:
        bao.mount("transit", "transit")
    for key in (KEY, OTHER):
        bao.api("POST", f"transit/keys/{key}", {})
    bao.policy(KEY, POLICY)
    async with vault_of(bao, approle(bao, KEY, KEY)) as vault:
        yield Transit(vault=vault, key=KEY)


async def test_what_was_encrypted_opens_again_with_the_same_associated_data_only(transit: Transit) -> None:
    sealed = await transit.encrypt(b"\x00key\xff", associated_data=b"keyring data 7")

    assert sealed.startswith("vault:v")
    assert await transit.decrypt(sealed, associated_data=b"keyring data 7") == b"\x00key\xff"
    for other in (b"keyring data 8", b""):
        with pytest.raises(Refused) as refusal:
            await transit.decrypt(sealed, associated_data=other)
        assert refusal.value.reason == CIPHERTEXT_REFUSED


async def test_an_empty_plaintext_and_a_large_one_come_back_as_they_were(transit: Transit) -> None:
    for plaintext in (b"", bytes(range(256)) * 2048):
        assert await transit.decrypt(await transit.encrypt(plaintext)) == plaintext


async def test_an_altered_ciphertext_a_foreign_one_and_none_at_all_are_refused_by_name(
    transit: Transit, bao: BaoServer
) -> None:
    sealed = await transit.encrypt(b"secret")
    head, _, body = sealed.rpartition(":")
    octets = bytearray(base64.b64decode(body))
    octets[-1] ^= 1
    altered = f"{head}:{base64.b64encode(octets).decode()}"
    foreign = bao.api("POST", f"transit/encrypt/{OTHER}", {"plaintext": "aGk="})["data"]["ciphertext"]

    for wrong in (altered, foreign, "vault:v99:" + body, "vault:v1:AAAA", "plain text", "vault:v0:AAAA"):
        with pytest.raises(Refused) as refusal:
            await transit.decrypt(wrong)
        assert refusal.value.reason == CIPHERTEXT_REFUSED, wrong


async def test_after_a_rotation_old_ciphertexts_open_new_ones_carry_the_new_version_and_rewrapping_brings_them_there(
    transit: Transit,
) -> None:
    old = await transit.encrypt(b"one")
    bound = await transit.encrypt(b"two", associated_data=b"where")
    before = await transit.info()

    made = await transit.rotate()

    after = await transit.info()
    assert made == after.latest
    assert (after.latest, set(after.made)) == (before.latest + 1, set(before.made) | {before.latest + 1})
    assert (after.is_exportable, after.is_deletable, after.kind) == (False, False, "aes256-gcm96")
    assert version_of(await transit.encrypt(b"three")) == after.latest
    for sealed, associated, plaintext in ((old, b"", b"one"), (bound, b"where", b"two")):
        assert await transit.decrypt(sealed, associated_data=associated) == plaintext
    for version in (after.latest, before.latest):
        anew = await transit.rewrap(old, version=version)
        assert (version_of(anew), await transit.decrypt(anew)) == (version, b"one")


async def test_a_batch_of_any_size_comes_back_in_order_and_fails_whole_where_one_piece_does(transit: Transit) -> None:
    items = [Item(str(number).encode(), b"n" * (number % 7)) for number in range(450)]
    sealed = await transit.encrypt_all(items)
    back = [Item(text, item.associated_data) for text, item in zip(sealed, items, strict=True)]

    assert await transit.decrypt_all(back) == [item.data for item in items]
    assert await transit.decrypt_all([]) == []
    with pytest.raises(Refused) as refusal:
        await transit.decrypt_all([*back[:3], Item(back[3].data, b"another altogether")])
    assert refusal.value.reason == CIPHERTEXT_REFUSED


async def test_a_key_that_is_not_there_is_missing_and_is_not_made_by_encrypting(
    bao: BaoServer, transit: Transit
) -> None:
    async with vault_of(bao, approle(bao, f"{KEY}-absent", KEY)) as vault:
        absent = Transit(vault=vault, key="absent")
        with pytest.raises(Missing):
            await absent.info()
        with pytest.raises((Missing, Refused)):
            await absent.encrypt(b"x")
        with pytest.raises(Missing):
            await absent.decrypt(await transit.encrypt(b"x"))
    assert "absent" not in bao.api("LIST", "transit/keys")["data"]["keys"]


async def test_a_sealed_vault_is_said_to_be_sealed_and_encrypts_again_once_unsealed(
    transit: Transit, bao: BaoServer
) -> None:
    sealed = await transit.encrypt(b"x")
    bao.seal()
    with pytest.raises(Unreachable) as failure:
        await transit.decrypt(sealed)
    assert failure.value.reason == "sealed"
    assert "sealed" in str(await transit.ping())
    bao.unseal()
    assert await transit.ping() is None
    assert await transit.decrypt(sealed) == b"x"
