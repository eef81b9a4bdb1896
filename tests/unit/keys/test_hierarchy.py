"""One master key, and no two uses that share a key."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes, hmac

from broker.core.errors import KeysUnavailable
from broker.keys.envelope import KEY_BYTES, CannotOpen
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, KeyVersion, Kind, Use
from tests.fakes.audit import SetClock

MASTER = bytes(range(32))


def hkdf(master: bytes, label: bytes) -> bytes:
    """RFC 5869, section 2, by hand: one block, no salt."""

    def mac(key: bytes, data: bytes) -> bytes:
        context = hmac.HMAC(key, hashes.SHA256())
        context.update(data)
        return context.finalize()

    return mac(mac(bytes(32), master), label + b"\x01")


@pytest.mark.parametrize("use", Use)
def test_a_key_is_hkdf_of_the_master_key_and_its_label(use: Use) -> None:
    assert KeyHierarchy(master=MASTER).derive(use) == hkdf(MASTER, use.value)


def test_no_two_uses_share_a_key_or_a_label_and_every_label_has_a_version() -> None:
    hierarchy = KeyHierarchy(master=MASTER)
    keys = {hierarchy.derive(use) for use in Use.__members__.values()}
    assert len(keys | {MASTER}) == len(Use.__members__) + 1
    assert {len(key) for key in keys} == {KEY_BYTES}
    assert all(use.value.rpartition(b"/")[2].startswith(b"v") for use in Use)


def test_another_master_key_makes_other_keys() -> None:
    assert not {KeyHierarchy(master=MASTER).derive(use) for use in Use} & {
        KeyHierarchy(master=bytes(32)).derive(use) for use in Use
    }


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_master_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"32 bytes, not {length}"):
        KeyHierarchy(master=bytes(length))


def test_what_a_former_master_key_sealed_opens_and_nothing_new_is_sealed_with_it() -> None:
    clock = SetClock()
    old = DailyEnvelope(hierarchy=KeyHierarchy(master=b"o" * 32), use=Use.SESSION_SEAL, clock=clock)
    both = KeyHierarchy(master=MASTER, former=[b"o" * 32])
    rotated = DailyEnvelope(hierarchy=both, use=Use.SESSION_SEAL, clock=clock)
    assert rotated.now().open(old.now().seal(b"a session", context=b"c"), context=b"c") == b"a session"
    new = DailyEnvelope(hierarchy=KeyHierarchy(master=MASTER), use=Use.SESSION_SEAL, clock=clock)
    assert new.now().open(rotated.now().seal(b"a session", context=b"c"), context=b"c") == b"a session"


def test_a_former_master_key_is_as_long_as_any() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        KeyHierarchy(master=MASTER, former=[b"short"])


def versions(*keys: bytes) -> dict[Kind, list[KeyVersion]]:
    return {kind: [KeyVersion(key) for key in keys] for kind in Kind}


def test_an_envelope_that_is_in_use_seals_with_the_version_that_came_and_opens_what_was_sealed_before() -> None:
    hierarchy = KeyHierarchy(master=MASTER)
    envelope = hierarchy.envelope(Use.CACHE_SEAL)
    before = envelope.seal(b"x", context=b"c")
    assert envelope.is_newest(before)
    hierarchy.take(versions(b"n" * 32, MASTER))
    after = envelope.seal(b"x", context=b"c")
    assert envelope.open(before, context=b"c") == envelope.open(after, context=b"c") == b"x"
    assert (envelope.is_newest(before), envelope.is_newest(after)) == (False, True)
    assert envelope.version_of(before) == KeyVersion(MASTER).id
    assert envelope.version_of(after) == hierarchy.sealing(Kind.DATA) == KeyVersion(b"n" * 32).id
    assert envelope.version_of(b"") is envelope.version_of(b"\x01anything") is None


def test_a_version_that_is_taken_away_opens_nothing_more() -> None:
    hierarchy = KeyHierarchy(master=MASTER)
    envelope = hierarchy.envelope(Use.CACHE_SEAL)
    before = envelope.seal(b"x", context=b"c")
    hierarchy.take(versions(b"n" * 32))
    with pytest.raises(CannotOpen, match="unknown_key"):
        envelope.open(before, context=b"c")


def test_a_daily_envelope_follows_a_version_that_comes_during_the_day() -> None:
    hierarchy, clock = KeyHierarchy(master=MASTER), SetClock()
    daily = DailyEnvelope(hierarchy=hierarchy, use=Use.SESSION_SEAL, clock=clock, days=7)
    before = daily.now().seal(b"x", context=b"c")
    hierarchy.take(versions(b"n" * 32, MASTER))
    assert daily.now().open(before, context=b"c") == b"x"
    assert not daily.now().is_newest(before)
    after = daily.now().seal(b"x", context=b"c")
    clock.time += timedelta(days=1)
    # Another day's key of the same version: nothing to be sealed anew.
    assert daily.now().is_newest(after)


def test_what_is_withheld_gives_nothing_to_anybody_until_it_is_taken_again() -> None:
    hierarchy, clock = KeyHierarchy(master=MASTER), SetClock()
    envelope = hierarchy.envelope(Use.CACHE_SEAL)
    daily = DailyEnvelope(hierarchy=hierarchy, use=Use.SESSION_SEAL, clock=clock)
    sealed = envelope.seal(b"x", context=b"c")
    hierarchy.withhold()
    for refused in (
        lambda: envelope.seal(b"x", context=b"c"),
        lambda: envelope.open(sealed, context=b"c"),
        lambda: envelope.is_newest(sealed),
        lambda: hierarchy.derive(Use.CACHE_NAME),
        lambda: hierarchy.envelope(Use.ELEVATION_SEAL),
        daily.now,
    ):
        with pytest.raises(KeysUnavailable):
            refused()
    # Who is revoked is heard of all the same.
    ledger = hierarchy.envelope(Use.REVOCATION_SEAL)
    assert ledger.open(ledger.seal(b"x", context=b"c"), context=b"c") == b"x"
    hierarchy.take(versions(MASTER))
    assert envelope.open(sealed, context=b"c") == b"x"
    daily.now()


def test_versions_of_one_kind_change_no_other_kind() -> None:
    hierarchy = KeyHierarchy(master=MASTER)
    names = {use: hierarchy.derive(use) for use in Use if use.kind is not Kind.DATA}
    hierarchy.take({**versions(MASTER), Kind.DATA: [KeyVersion(b"n" * 32)]})
    assert {use: hierarchy.derive(use) for use in names} == names
    assert hierarchy.derive(Use.CACHE_SEAL) == hkdf(b"n" * 32, Use.CACHE_SEAL.value)


def test_a_key_version_shows_itself_to_nobody() -> None:
    assert repr(b"k" * 32) not in repr(KeyVersion(b"k" * 32))
    with pytest.raises(ValueError, match="32 bytes"):
        KeyVersion(b"short")
