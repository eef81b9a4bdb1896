"""The keyring is a set that only grows: in whatever order and however often rings are merged, nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.keys.envelope import CannotOpen, Envelope
from broker.keys.hierarchy import KeyVersion, Kind
from broker.keys.keyring import (
    OWN,
    Entry,
    Gone,
    Kek,
    Ring,
    Wrapped,
    decoded,
    encoded,
    kek_id,
    tombstone,
    unwrapped,
    wrapped_version,
)

KEK_KEY, OTHER_KEK = b"k" * 32, b"K" * 32

ids = st.sampled_from(["0a", "0b", "0c"])
times = st.integers(0, 3)
blobs = st.binary(min_size=1, max_size=2)
kinds = st.sampled_from([str(kind) for kind in Kind])
entries = st.one_of(
    st.builds(Kek, id=ids, master=st.sampled_from(["m", "n"]), made=times, wrapped=blobs),
    st.builds(Wrapped, kind=kinds, id=ids, kek=ids, made=times, seals_from=times, wrapped=blobs),
    st.builds(Gone, kind=kinds | st.just("kek"), id=ids, kek=ids, at=times, wrapped=blobs),
)
rings = st.lists(entries, max_size=8).map(Ring.of)


@given(rings, rings, rings)
def test_merging_asks_neither_for_an_order_nor_for_how_often(one: Ring, two: Ring, three: Ring) -> None:
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(three) == one.merged(two.merged(three))
    assert one.merged(one) == one


@given(rings, rings)
def test_nothing_that_either_has_is_missing_and_what_either_buried_stays_buried(one: Ring, two: Ring) -> None:
    both = one.merged(two)
    assert set(both.entries) == set(one.entries) | set(two.entries)
    for kind in Kind:
        assert not {(kind, version.id) for version in both.versions(kind)} & (one.gone() | two.gone())
    assert not {("kek", kek.id) for kek in both.keks()} & (one.gone() | two.gone())


@given(entries)
def test_an_entry_is_the_same_after_it_was_written_and_read(entry: Entry) -> None:
    assert decoded(encoded(entry)) == entry


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"name":"kek/a/m"}',
        encoded(Kek(id="a", master="m", made=1, wrapped=b"x")).replace(b'"made":1', b'"made":true'),
        encoded(Kek(id="a", master="m", made=1, wrapped=b"x")).replace(b'"made":1', b'"made":"1"'),
        encoded(Kek(id="a", master="m", made=1, wrapped=b"x")).replace(b'"kek/a/m"', b'"kek/b/m"'),
        encoded(Kek(id="a", master="m", made=1, wrapped=b"x")).replace(b'"kek/a/m"', b'"key/a/m"'),
        encoded(Kek(id="a", master="m" * 5000, made=1, wrapped=b"x")),
        encoded(Kek(id="a", master="m" * 1025, made=1, wrapped=b"x")),
        encoded(Kek(id="a", master="m\n", made=1, wrapped=b"x")),
        encoded(Kek(id="a", master="\ud800", made=1, wrapped=b"x")),
        encoded(Kek(id="a/b", master="m", made=1, wrapped=b"x")),
        encoded(Kek(id="a" * 65, master="m", made=1, wrapped=b"x")),
        encoded(Kek(id="a", master="m", made=-1, wrapped=b"x")),
        encoded(Kek(id="a", master="m", made=10**18, wrapped=b"x")),
        encoded(Kek(id="a", master="m", made=1, wrapped=b"")),
        encoded(Gone(kind="Data", id="a", kek="a", at=1, wrapped=b"x")),
    ],
)
def test_what_is_no_entry_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="not an entry of a keyring"):
        decoded(text)


def test_an_entry_opens_as_what_it_says_and_as_nothing_else() -> None:
    key = KeyVersion(b"v" * 32)
    entry = wrapped_version(key, kind=Kind.DATA, kek=KEK_KEY, made=1, seals_from=2)
    assert unwrapped(entry, kek=KEK_KEY) == key.key
    for forged in (
        Wrapped("session", entry.id, entry.kek, 1, 2, entry.wrapped),
        Wrapped("data", "0" * 16, entry.kek, 1, 2, entry.wrapped),
        Wrapped("data", entry.id, entry.kek, 0, 2, entry.wrapped),
        Wrapped("data", entry.id, entry.kek, 1, 9, entry.wrapped),
        Wrapped("data", entry.id, entry.kek, 1, OWN, entry.wrapped),
        Gone("data", entry.id, entry.kek, 1, entry.wrapped),
    ):
        with pytest.raises(CannotOpen):
            unwrapped(forged, kek=KEK_KEY)
    with pytest.raises(CannotOpen):
        unwrapped(entry, kek=OTHER_KEK)
    # Sealed by a KEK of ours, and another key than it says.
    swapped = Envelope(keys=[KEK_KEY]).seal(b"w" * 32, context=entry.context)
    with pytest.raises(CannotOpen):
        unwrapped(Wrapped("data", entry.id, entry.kek, 1, 2, swapped), kek=KEK_KEY)
    assert key.key not in encoded(entry)


def test_the_entry_of_a_master_key_holds_no_key() -> None:
    own = wrapped_version(KeyVersion(b"m" * 32), kind=Kind.DATA, kek=KEK_KEY, made=1, seals_from=OWN)
    assert unwrapped(own, kek=KEK_KEY) == b""


def test_a_tombstone_is_of_one_thing() -> None:
    grave = tombstone("data", "0a", kek=KEK_KEY, at=5)
    assert unwrapped(grave, kek=KEK_KEY) == b""
    with pytest.raises(CannotOpen):
        unwrapped(Gone("data", "0b", kek_id(KEK_KEY), 5, grave.wrapped), kek=KEK_KEY)


def test_versions_come_newest_first_and_each_once() -> None:
    first, second = KeyVersion(b"1" * 32), KeyVersion(b"2" * 32)
    ring = Ring.of(
        wrapped_version(key, kind=Kind.DATA, kek=kek, made=at, seals_from=at)
        for kek in (KEK_KEY, OTHER_KEK)
        for at, key in ((10, first), (20, second))
    )
    assert [version.id for version in ring.versions(Kind.DATA)] == [second.id, first.id]
    buried = ring.merged([tombstone("data", second.id, kek=KEK_KEY, at=30)])
    assert [version.id for version in buried.versions(Kind.DATA)] == [first.id]
