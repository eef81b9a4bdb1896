"""No key goes before the vault has found, in a pass of its own, that nothing is sealed with it any more."""

from __future__ import annotations

from broker.keys.hierarchy import KeyHierarchy, KeyVersion, Kind
from broker.secrets.resealing import Resealing
from broker.secrets.rewrap import Rewrapped

OLD, NEW = KeyVersion(b"o" * 32), KeyVersion(b"n" * 32)


class Passes:
    def __init__(self, *found: Rewrapped) -> None:
        self.found = list(found)

    async def rewrap(self) -> Rewrapped:
        return self.found.pop(0)


def of(passes: Passes, hierarchy: KeyHierarchy) -> Resealing:
    return Resealing(vault=passes, hierarchy=hierarchy, all_versions=lambda: frozenset({OLD.id, NEW.id}))


def hierarchy_of(*versions: KeyVersion) -> KeyHierarchy:
    return KeyHierarchy.of({kind: list(versions) for kind in Kind})


async def test_everything_is_needed_until_a_pass_finds_nothing_to_do_and_then_no_pass_is_made() -> None:
    store = of(Passes(Rewrapped(seen=3, renewed=3), Rewrapped(seen=3)), hierarchy_of(NEW, OLD))
    assert await store.reseal() == {OLD.id, NEW.id}
    assert await store.reseal() == {NEW.id}
    assert await store.reseal() == {NEW.id}


async def test_a_secret_that_does_not_open_keeps_every_key() -> None:
    store = of(Passes(*[Rewrapped(seen=3, broken=1)] * 2), hierarchy_of(NEW, OLD))
    assert await store.reseal() == await store.reseal() == {OLD.id, NEW.id}


async def test_another_version_that_seals_means_another_pass() -> None:
    hierarchy = hierarchy_of(OLD)
    passes = Passes(Rewrapped(seen=1), Rewrapped(seen=1, renewed=1), Rewrapped(seen=1))
    store = of(passes, hierarchy)
    assert await store.reseal() == {OLD.id}
    hierarchy.take({kind: [NEW, OLD] for kind in Kind})
    assert await store.reseal() == {OLD.id, NEW.id}
    assert await store.reseal() == {NEW.id}


async def test_an_older_version_that_sealed_for_a_moment_between_two_looks_is_not_overlooked() -> None:
    hierarchy = hierarchy_of(NEW, OLD)
    passes = Passes(Rewrapped(seen=1), Rewrapped(seen=1, renewed=1), Rewrapped(seen=1))
    store = of(passes, hierarchy)
    assert await store.reseal() == {NEW.id}
    for order in ([OLD, NEW], [NEW, OLD]):
        hierarchy.take(dict.fromkeys(Kind, order))
    assert await store.reseal() == {OLD.id, NEW.id}
    assert await store.reseal() == {NEW.id}
