"""One master key, and no two uses that share a key."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, hmac

from broker.keys.envelope import KEY_BYTES
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, Use
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
