"""Whoever holds a sealed entry reads nothing, moves nothing, revives nothing and prolongs nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from broker.cache import entry as entry_module
from broker.cache.entry import SHORTEST_LEFT, EntrySeal, Spent, Tampered
from broker.core.birth import Births
from broker.core.credentials import Credentials
from broker.keys.envelope import Envelope
from tests.fakes.cache import HOUR, KEY, KEY_ID, OLD_KEY, SECRET, TOKEN, MovedClock, credentials

IDENTITY = b'[["alice"],"EXAMPLE.COM"]'
TWO_HOURS = timedelta(hours=2)
HERE, ELSEWHERE = "this-boot", "another-host"


def seal_of(clock: MovedClock, *keys: bytes, boot: str = HERE) -> EntrySeal:
    return EntrySeal(envelope=Envelope(keys=keys or (KEY,)), clock=clock, births=Births(clock=clock, boot=boot))


@pytest.fixture
def seal(clock) -> EntrySeal:
    return seal_of(clock)


def sealed(seal: EntrySeal, kept: Credentials, *, lifetime: timedelta = HOUR) -> bytes:
    return seal.seal(kept, identity=IDENTITY, lifetime=lifetime)[0]


def test_what_was_sealed_comes_back_whole(seal, clock) -> None:
    held = seal.open(sealed(seal, credentials(clock)), identity=IDENTITY)
    assert (held.credentials, held.left) == (credentials(clock), HOUR)


def test_it_remembers_which_request_it_was_made_for_and_one_of_an_older_broker_opens_without(
    seal, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = replace(credentials(clock), minted_by="0123456789abcdef01234567")
    assert seal.open(sealed(seal, made), identity=IDENTITY).credentials == made
    whole = entry_module._members
    monkeypatch.setattr(
        entry_module,
        "_members",
        lambda kept: {name: value for name, value in whole(kept).items() if name != "minted_by"},
    )
    older = sealed(seal, made)
    monkeypatch.undo()
    assert seal.open(older, identity=IDENTITY).credentials == replace(made, minted_by=None)


def test_an_entry_shows_no_plaintext(seal, clock) -> None:
    entry = sealed(seal, credentials(clock)).lower()
    for plain in (KEY_ID, SECRET, TOKEN, "alice", "EXAMPLE.COM", "developer", "111122223333", HERE):
        assert plain.lower().encode() not in entry


def test_the_same_credentials_never_look_the_same_twice(seal, clock) -> None:
    assert len({sealed(seal, credentials(clock)) for _ in range(3)}) == 3


def test_it_opens_for_nobody_else(seal, clock) -> None:
    with pytest.raises(Tampered, match="altered"):
        seal.open(sealed(seal, credentials(clock)), identity=IDENTITY + b" ")


def test_a_bit_flipped_anywhere_closes_it(seal, clock) -> None:
    entry = sealed(seal, credentials(clock))
    for place, bit in itertools.product(range(len(entry)), (0, 7)):
        changed = bytearray(entry)
        changed[place] ^= 1 << bit
        with pytest.raises((Tampered, Spent)):
            seal.open(bytes(changed), identity=IDENTITY)


def test_cut_or_grown_it_does_not_open(seal, clock) -> None:
    entry = sealed(seal, credentials(clock))
    for changed in [entry[:end] for end in range(len(entry))] + [entry + b"\0", entry * 2, b"\0" * 8 + entry]:
        with pytest.raises((Tampered, Spent)):
            seal.open(changed, identity=IDENTITY)


@pytest.mark.parametrize("garbage", [b"", b"\0", b"x" * 45, b"{}", b"\xff" * 5000])
def test_garbage_is_no_entry(seal, garbage: bytes) -> None:
    with pytest.raises(Tampered, match="malformed"):
        seal.open(garbage, identity=IDENTITY)


@pytest.mark.parametrize("longer", [1, 3600, 10**9])
def test_a_life_made_longer_outside_the_seal_closes_it(seal, clock, longer: int) -> None:
    entry = sealed(seal, credentials(clock))
    expiry = int.from_bytes(entry[:8], "big")
    assert expiry == int(credentials(clock).expiration.timestamp())
    with pytest.raises(Tampered):
        seal.open((expiry + longer).to_bytes(8, "big") + entry[8:], identity=IDENTITY)


def test_a_key_that_is_not_held_is_no_tampering(seal, clock) -> None:
    with pytest.raises(Spent):
        seal.open(sealed(seal_of(clock, OLD_KEY), credentials(clock)), identity=IDENTITY)


def test_an_older_key_that_is_still_held_opens(clock) -> None:
    entry = sealed(seal_of(clock, OLD_KEY), credentials(clock))
    assert seal_of(clock, KEY, OLD_KEY).open(entry, identity=IDENTITY).credentials == credentials(clock)


# ---- lifetimes ----


@pytest.mark.parametrize(
    ("left", "useful"),
    [
        (SHORTEST_LEFT + timedelta(seconds=1), True),
        (SHORTEST_LEFT, False),
        (timedelta(minutes=15), False),
        (timedelta(0), False),
        (timedelta(minutes=-1), False),
    ],
)
@pytest.mark.parametrize("boot", [HERE, ELSEWHERE])
def test_only_more_than_fifteen_and_a_half_minutes_come_out(clock, boot: str, left: timedelta, useful: bool) -> None:  # noqa: FBT001
    entry = sealed(seal_of(clock, boot=boot), credentials(clock))
    clock.move(HOUR - left)
    assert opens(seal_of(clock), entry) == useful


def opens(seal: EntrySeal, entry: bytes) -> bool:
    try:
        seal.open(entry, identity=IDENTITY)
    except Spent:
        return False
    return True


def test_no_entry_lives_longer_than_what_was_granted(seal, clock) -> None:
    # STS's clock, or ours when it answered, was wrong.
    entry = sealed(seal, credentials(clock, lives=3 * HOUR), lifetime=HOUR)
    assert seal.open(entry, identity=IDENTITY).left == HOUR
    clock.move(HOUR - SHORTEST_LEFT)
    assert not opens(seal, entry)


@pytest.mark.parametrize("boot", [HERE, ELSEWHERE])
@pytest.mark.parametrize("life", [HOUR, 12 * HOUR])
@pytest.mark.parametrize("by", [-TWO_HOURS, TWO_HOURS, -timedelta(minutes=10)])
def test_a_wall_clock_that_is_set_prolongs_no_life(boot: str, life: timedelta, by: timedelta) -> None:
    for set_after in (timedelta(minutes=1), timedelta(minutes=30), timedelta(minutes=44)):
        clock = MovedClock()
        seal = seal_of(clock)
        entry = sealed(seal_of(clock, boot=boot), credentials(clock, lives=life), lifetime=life)
        clock.move(set_after)
        clock.set(by)
        clock.move(life - SHORTEST_LEFT - set_after)
        assert not opens(seal, entry), set_after


def test_a_wall_clock_that_was_set_back_does_not_end_what_this_host_seals_from_then_on(seal, clock) -> None:
    clock.set(-TWO_HOURS)
    entry = sealed(seal, credentials(clock))
    assert opens(seal, entry)
    clock.move(HOUR - SHORTEST_LEFT - timedelta(seconds=1))
    assert opens(seal, entry)


def test_a_process_that_started_with_a_clock_set_back_takes_nothing_from_the_future(clock) -> None:
    entry = sealed(seal_of(clock, boot=ELSEWHERE), credentials(clock, lives=12 * HOUR), lifetime=12 * HOUR)
    clock.set(-timedelta(seconds=31))
    assert not opens(seal_of(clock), entry)
    clock.move(timedelta(seconds=1))
    assert opens(seal_of(clock), entry), "half a minute is what clocks may differ"


def test_another_hosts_seconds_since_boot_say_nothing_here(clock) -> None:
    entry = sealed(seal_of(clock, boot=ELSEWHERE), credentials(clock))
    clock.booted = 50_000_000.0
    assert opens(seal_of(clock), entry)


def test_an_entry_from_before_the_boot_that_it_names_is_of_another_time_namespace(clock) -> None:
    entry = sealed(seal_of(clock), credentials(clock))
    clock.booted -= 1
    assert not opens(seal_of(clock), entry)
