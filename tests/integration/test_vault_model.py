"""The vault over real stores does what a plain dictionary of versions would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import asyncio as redis

from broker.core.replicated import Replicas
from broker.remote.failure import Conflict, Missing, Refused, RemoteFailure
from broker.secrets.metadata import Details
from broker.secrets.store import Store
from broker.secrets.store_redis import RedisVaultStore
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault
from tests.fakes.redis import RedisServer
from tests.fakes.vault import fields, shown, vault_over

KEPT = 3

paths = st.sampled_from(["a", "a/b", "c"])
numbers = st.integers(1, 6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), paths, st.one_of(st.none(), st.integers(0, 4))),
        st.tuples(st.just("delete"), paths, st.one_of(st.none(), numbers)),
        st.tuples(st.just("undelete"), paths, numbers),
        st.tuples(st.just("destroy"), paths, numbers),
        st.tuples(st.just("purge"), paths, st.none()),
        st.tuples(st.just("rewrap"), paths, st.none()),
    ),
    max_size=25,
)


class Model:
    """What a vault is: by path the newest number, and by number the text and whether it is deleted; None is destroyed."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self.there: dict[str, dict[int, list[object]]] = {}

    def do(self, what: str, path: str, number: int | None, text: str) -> bool:
        if what == "write":
            return self.write(path, number, text)
        return what == "rewrap" or self.change(what, path, number)

    def write(self, path: str, cas: int | None, text: str) -> bool:
        versions = self.there.get(path)
        if cas is not None and cas != (self.newest[path] if versions is not None else 0):
            return False
        self.newest[path] = self.newest.get(path, 0) + 1
        kept = {**(versions or {}), self.newest[path]: [text, False]}
        self.there[path] = dict(sorted(kept.items())[-KEPT:])
        return True

    def change(self, what: str, path: str, number: int | None) -> bool:
        versions = self.there.get(path)
        if versions is None:
            return False
        if what == "purge":
            del self.there[path]
            return True
        number = self.newest[path] if number is None else number
        if number not in versions or (what == "undelete" and versions[number][0] is None):
            return False
        if what == "destroy":
            versions[number][0] = None
        else:
            versions[number][1] = what == "delete" or (what != "undelete" and versions[number][1])
        return True


async def step(vault: Vault, what: str, path: str, number: int | None, text: str) -> bool:
    chosen = None if number is None else [number]
    try:
        match what:
            case "write":
                await vault.write(path, fields(value=text), cas=number, details=Details(versions_kept=KEPT))
            case "delete":
                await vault.delete(path, chosen)
            case "undelete":
                await vault.undelete(path, chosen)
            case "destroy":
                await vault.destroy(path, chosen or [])
            case "purge":
                await vault.purge(path)
            case _:
                await vault.rewrap()
    except (Missing, Refused, Conflict):
        return False
    return True


async def readable(vault: Vault) -> dict[str, dict[int, str]]:
    found: dict[str, dict[int, str]] = {}
    for path in await vault.list(""):
        found[path] = {}
        for number in range(1, 30):
            with contextlib.suppress(RemoteFailure):
                found[path][number] = shown(await vault.read(path, version=str(number)))["value"]
    return found


async def agrees(make: Callable[[], Store], chosen: list[tuple[str, str, int | None]]) -> None:
    # Two instances take turns.
    vaults, model = [vault_over(make()), vault_over(make())], Model()
    for at, (what, path, number) in enumerate(chosen):
        assert await step(vaults[at % 2], what, path, number, str(at)) == model.do(what, path, number, str(at))
    expected = {
        path: {number: text for number, (text, deleted) in versions.items() if text is not None and not deleted}
        for path, versions in model.there.items()
    }
    assert await readable(vaults[0]) == expected
    for vault in vaults:
        await vault.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=steps)
def test_over_a_file_it_does_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[tuple[str, str, int | None]]
) -> None:
    folder = tmp_path_factory.mktemp("model")
    asyncio.run(agrees(lambda: SqliteStore(directory=folder), chosen))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=steps)
def test_over_redis_it_does_what_a_dictionary_would(
    redis_server: RedisServer, chosen: list[tuple[str, str, int | None]]
) -> None:
    redis_server.renew()
    asyncio.run(agrees(lambda: redis_store(redis_server), chosen))


def redis_store(server: RedisServer) -> RedisVaultStore:
    return RedisVaultStore(
        client=redis.Redis.from_url(server.url_with_password, socket_timeout=5), replicas=Replicas(0)
    )
