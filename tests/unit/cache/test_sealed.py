"""Whoever controls the store reads nothing, swaps nothing, revives nothing and prolongs nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from broker.cache.sealed import REFRESH_AT, SHORTEST_LEFT, CredentialCache
from broker.core.credentials import Credentials
from broker.core.grant import Grant
from broker.core.principal import NameType, Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.secret import Secret
from broker.keys.envelope import Envelope

HOUR = timedelta(hours=1)
KEY, OLD_KEY, NAME_KEY = b"k" * 32, b"o" * 32, b"n" * 32
SECRET, TOKEN, KEY_ID = "canary-secret-access-key", "canary-session-token", "ASIACANARYCANARY0001"


def role(name: str) -> Role:
    arn = RoleArn.parse(f"arn:aws:iam::111122223333:role/{name}")
    return Role(name=RoleName(name), chain=(Hop(arn=arn, external_id="x-1"),), duration=HOUR)


GRANT = Grant(
    principal=Principal(("alice",), "EXAMPLE.COM"),
    role=role("developer"),
    rule="engineers",
    policy_digest="d1",
    lifetime=HOUR,
    ends_at=None,
)

# Everything about a grant that makes it another one, one change at a time.
OTHERS = {
    "principal": replace(GRANT, principal=Principal(("mallory",), "EXAMPLE.COM")),
    "case": replace(GRANT, principal=Principal(("Alice",), "EXAMPLE.COM")),
    "realm": replace(GRANT, principal=Principal(("alice",), "PARTNER.EXAMPLE")),
    "components": replace(GRANT, principal=Principal(("alice", "admin"), "EXAMPLE.COM")),
    "name type": replace(GRANT, principal=Principal(("alice",), "EXAMPLE.COM", NameType.SRV_INST)),
    "role": replace(GRANT, role=role("admin")),
    "policy": replace(GRANT, policy_digest="d2"),
    "ticket's end": replace(GRANT, ends_at=1_800_000_000),
}


def cache_over(store, clock, *keys: bytes, name_key: bytes = NAME_KEY) -> CredentialCache:
    return CredentialCache(store=store, envelope=Envelope(keys=keys or (KEY,)), name_key=name_key, clock=clock)


@pytest.fixture
def cache(store, clock) -> CredentialCache:
    return cache_over(store, clock)


def credentials(clock, *, lives: timedelta = HOUR) -> Credentials:
    return Credentials(
        access_key_id=KEY_ID,
        secret_access_key=Secret(SECRET),
        session_token=Secret(TOKEN),
        expiration=clock.now() + lives,
        account="111122223333",
        role_arn="arn:aws:iam::111122223333:role/developer",
    )


async def test_what_was_kept_comes_back_whole(cache, clock) -> None:
    await cache.keep(GRANT, credentials(clock))
    assert await cache.find(GRANT) == credentials(clock)


async def test_the_store_sees_no_plaintext(cache, store, clock) -> None:
    await cache.keep(GRANT, credentials(clock))
    seen = b"".join(name.encode() + blob for name, blob in store.entries.items()).lower()
    for plain in (KEY_ID, SECRET, TOKEN, "alice", "EXAMPLE.COM", "developer", "111122223333"):
        assert plain.lower().encode() not in seen


@pytest.mark.parametrize("what", OTHERS)
async def test_another_grant_has_another_name_and_finds_nothing(cache, clock, what: str) -> None:
    await cache.keep(GRANT, credentials(clock))
    assert cache.name(OTHERS[what]) != cache.name(GRANT)
    assert await cache.find(OTHERS[what]) is None


@pytest.mark.parametrize("what", OTHERS)
async def test_an_entry_put_in_another_s_place_does_not_open(cache, store, clock, what: str) -> None:
    await cache.keep(GRANT, credentials(clock))
    store.entries[cache.name(OTHERS[what])] = store.entries[cache.name(GRANT)]
    assert await cache.find(OTHERS[what]) is None


async def test_names_tell_nothing_without_the_key(store, clock) -> None:
    names = {cache_over(store, clock, name_key=bytes([n]) * 32).name(GRANT) for n in range(3)}
    assert len(names) == 3


async def test_a_bit_flipped_anywhere_is_a_miss(cache, store, clock) -> None:
    await cache.keep(GRANT, credentials(clock))
    name, blob = cache.name(GRANT), store.entries[cache.name(GRANT)]
    for place, bit in itertools.product(range(len(blob)), (0, 7)):
        changed = bytearray(blob)
        changed[place] ^= 1 << bit
        store.entries[name] = bytes(changed)
        assert await cache.find(GRANT) is None, f"byte {place}"


async def test_a_blob_cut_or_grown_is_a_miss(cache, store, clock) -> None:
    await cache.keep(GRANT, credentials(clock))
    name, blob = cache.name(GRANT), store.entries[cache.name(GRANT)]
    for changed in [blob[:end] for end in range(len(blob))] + [blob + b"\0", blob * 2, b"\0" * 8 + blob]:
        store.entries[name] = changed
        assert await cache.find(GRANT) is None


@pytest.mark.parametrize("garbage", [b"", b"\0", b"x" * 45, b"\x01" * 200, b"{}", b"\xff" * 5000])
async def test_garbage_is_a_miss(cache, store, garbage: bytes) -> None:
    store.entries[cache.name(GRANT)] = garbage
    assert await cache.find(GRANT) is None


@pytest.mark.parametrize("longer", [1, 3600, 10**9])
async def test_a_life_made_longer_outside_the_seal_is_a_miss(cache, store, clock, longer: int) -> None:
    await cache.keep(GRANT, credentials(clock))
    name, blob = cache.name(GRANT), store.entries[cache.name(GRANT)]
    expiry = int.from_bytes(blob[:8], "big")
    assert expiry == int(credentials(clock).expiration.timestamp())
    store.entries[name] = (expiry + longer).to_bytes(8, "big") + blob[8:]
    assert await cache.find(GRANT) is None


async def test_an_entry_kept_beyond_its_life_by_the_store_is_a_miss(cache, clock) -> None:
    await cache.keep(GRANT, credentials(clock))
    clock.move(HOUR)
    assert await cache.find(GRANT) is None


async def test_an_entry_of_an_unknown_key_is_a_miss(cache, store, clock) -> None:
    await cache_over(store, clock, OLD_KEY).keep(GRANT, credentials(clock))
    assert cache.name(GRANT) in store.entries
    assert await cache.find(GRANT) is None


async def test_an_entry_of_an_older_key_that_is_still_held_opens(store, clock) -> None:
    await cache_over(store, clock, OLD_KEY).keep(GRANT, credentials(clock))
    assert await cache_over(store, clock, KEY, OLD_KEY).find(GRANT) == credentials(clock)


async def test_the_same_credentials_never_look_the_same_twice(cache, store, clock) -> None:
    seen = set()
    for _ in range(3):
        await cache.keep(GRANT, credentials(clock))
        seen.add(store.entries[cache.name(GRANT)])
    assert len(seen) == 3


# ---- lifetimes ----


@pytest.mark.parametrize(
    ("left", "handed_out"),
    [
        (SHORTEST_LEFT + timedelta(seconds=1), True),
        (SHORTEST_LEFT, False),
        (timedelta(minutes=15), False),
        (timedelta(0), False),
        (timedelta(minutes=-1), False),
    ],
)
async def test_only_more_than_fifteen_and_a_half_minutes_are_handed_out(cache, clock, left, handed_out: bool) -> None:  # noqa: FBT001
    await cache.keep(GRANT, credentials(clock))
    clock.move(HOUR - left)
    assert (await cache.find(GRANT) is not None) == handed_out


def test_the_line_is_above_the_quarter_of_an_hour_at_which_botocore_asks_anew() -> None:
    assert timedelta(minutes=15) < SHORTEST_LEFT < REFRESH_AT == timedelta(minutes=20)


async def test_the_store_is_told_to_forget_when_an_entry_is_of_no_more_use(cache, store, clock) -> None:
    await cache.keep(GRANT, credentials(clock))
    assert store.ttls[cache.name(GRANT)] == HOUR - SHORTEST_LEFT


async def test_what_is_of_no_use_from_the_start_is_not_kept(cache, store, clock) -> None:
    await cache.keep(GRANT, credentials(clock, lives=SHORTEST_LEFT))
    assert store.entries == {}


@pytest.mark.parametrize(("minutes", "due"), [(21, False), (20, True), (16, True)])
async def test_a_new_set_is_due_at_twenty_minutes(cache, clock, minutes: int, due: bool) -> None:  # noqa: FBT001
    assert cache.is_due(GRANT, credentials(clock, lives=timedelta(minutes=minutes))) == due


async def test_a_set_that_ends_with_the_ticket_is_never_due_because_a_new_one_would_end_no_later(cache, clock) -> None:
    assert not cache.is_due(OTHERS["ticket's end"], credentials(clock, lives=timedelta(minutes=16)))


async def test_a_role_of_twenty_minutes_is_not_fetched_for_every_request(cache, clock) -> None:
    short = replace(GRANT, lifetime=timedelta(minutes=20))
    assert not cache.is_due(short, credentials(clock, lives=timedelta(minutes=20)))
    assert cache.is_due(short, credentials(clock, lives=timedelta(minutes=17)))
