"""The KV engine of a real OpenBao behind the port of vaults, with the policy of docs/vaults.md."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from broker.core.clock import SystemClock
from broker.core.secret import Secret
from broker.remote.failure import Conflict, Missing, Refused
from broker.secrets.provider import Version
from broker.secrets.providers.hashicorp import HashicorpProvider
from tests.fakes.bao import MOUNT, BaoServer
from tests.fakes.bao_client import approle, vault_of
from tests.fakes.docs import vaults_policy

NAME = "test-kv"


def provider_of(vault: object, mount: str = MOUNT) -> HashicorpProvider:
    return HashicorpProvider(vault=vault, mount=mount, leased_mounts=(), clock=SystemClock())  # type: ignore[arg-type]


@pytest.fixture
async def kv(bao: BaoServer) -> AsyncIterator[HashicorpProvider]:
    bao.policy(NAME, vaults_policy())
    async with vault_of(bao, approle(bao, NAME, NAME)) as vault:
        yield provider_of(vault)


def shown(version: Version) -> dict[str, str]:
    return {name: value.reveal() for name, value in version.fields.items()}


async def test_what_was_written_is_read_in_every_version(kv: HashicorpProvider) -> None:
    path = "kv/app/db.main"
    assert await kv.write(path, {"user": Secret("app"), "password": Secret("ö\n\"'")}) == "1"
    assert await kv.write(path, {"password": Secret("second")}) == "2"

    newest = await kv.read(path)
    assert (shown(newest), newest.number, newest.lease_ends) == ({"password": "second"}, "2", None)
    assert newest.made is not None
    assert abs(datetime.now(UTC) - newest.made) < timedelta(minutes=5)
    assert shown(await kv.read(path, version="1")) == {"user": "app", "password": "ö\n\"'"}
    for none in ("3", "0", "01", "-1", "x", "1&version=2"):
        with pytest.raises(Missing):
            await kv.read(path, version=none)
    with pytest.raises(Missing):
        await kv.read("kv/app")
    assert "second" not in repr(newest)


async def test_check_and_set_writes_on_what_was_seen_and_on_nothing_else(kv: HashicorpProvider) -> None:
    path = "kv/cas"
    one = {"value": Secret("1")}
    assert await kv.write(path, one, cas=0) == "1"
    assert await kv.write(path, one, cas=1) == "2"
    for stale in (0, 1, 3):
        with pytest.raises(Conflict):
            await kv.write(path, one, cas=stale)
    assert (await kv.read(path)).number == "2"


async def test_a_deleted_secret_is_missing_and_older_versions_stay(kv: HashicorpProvider) -> None:
    path = "kv/deleted"
    await kv.write(path, {"value": Secret("1")})
    await kv.write(path, {"value": Secret("2")})
    await kv.delete(path)
    for version in (None, "2"):
        with pytest.raises(Missing):
            await kv.read(path, version=version)
    assert shown(await kv.read(path, version="1")) == {"value": "1"}
    assert await kv.write(path, {"value": Secret("3")}) == "3"


async def test_a_listing_names_whole_paths_in_order_through_all_folders(kv: HashicorpProvider, bao: BaoServer) -> None:
    for path in ("tree/b", "tree/a/two", "tree/a/one/deep", "tree/a", "treetop"):
        await kv.write(path, {"value": Secret("x")})
    bao.api("POST", f"{MOUNT}/data/tree/no%20path", {"data": {}})
    assert await kv.list("tree") == ["tree/a", "tree/a/one/deep", "tree/a/two", "tree/b"]
    assert set(await kv.list("")) >= {"tree/a/one/deep", "treetop"}
    assert await kv.list("nowhere") == []


async def test_values_that_others_stored_as_json_are_text(kv: HashicorpProvider, bao: BaoServer) -> None:
    stored = {"port": 5432, "tls": True, "hosts": ["a", "b"], "none": None, "text": "5432"}
    bao.api("POST", f"{MOUNT}/data/kv/json", {"data": stored})
    found = shown(await kv.read("kv/json"))
    assert found == {"port": "5432", "tls": "true", "hosts": '["a", "b"]', "none": "null", "text": "5432"}


async def test_an_engine_that_is_not_there_and_one_that_is_no_kv_engine_are_said_to_be_so(bao: BaoServer) -> None:
    bao.mount("kv-one", "kv", {"version": "1"})
    bao.api("POST", "kv-one/data/x", {"value": "old"})
    async with vault_of(bao, bao.token("root")) as vault:
        with pytest.raises(Refused) as refusal:
            await provider_of(vault, "nowhere").read("x")
        assert refusal.value.reason == "no_such_mount"
        with pytest.raises(Exception, match="not as it is documented"):
            await provider_of(vault, "kv-one").read("x")


async def test_the_policy_of_the_documentation_gives_nothing_else(bao: BaoServer, kv: HashicorpProvider) -> None:
    bao.mount("others", "kv", {"version": "2"})
    bao.api("POST", "others/data/x", {"data": {"value": "theirs"}})
    role = approle(bao, NAME, NAME)
    async with vault_of(bao, role) as vault:
        for asked in (
            lambda: provider_of(vault, "others").read("x"),
            lambda: vault.ask("GET", "sys/mounts", is_repeatable=True),
            lambda: vault.ask("DELETE", f"{MOUNT}/metadata/kv/cas", is_repeatable=True),
            lambda: vault.ask("POST", "auth/token/create", {}, is_repeatable=False),
        ):
            with pytest.raises(Refused) as refusal:
                await asked()
            assert refusal.value.reason == "denied"


async def test_a_namespace_is_another_vault(bao: BaoServer) -> None:
    bao.api("POST", "sys/namespaces/team", {})
    bao.mount(MOUNT, "kv", {"version": "2"}, namespace="team")
    bao.policy(NAME, vaults_policy(), namespace="team")
    login = approle(bao, NAME, NAME, namespace="team")
    async with vault_of(bao, login, namespace="team") as vault:
        await provider_of(vault).write("ns/x", {"value": Secret("of the team")})
    async with vault_of(bao, bao.token("root")) as vault:
        with pytest.raises(Missing):
            await provider_of(vault).read("ns/x")
    async with vault_of(bao, login) as vault:
        with pytest.raises(Refused) as refusal:
            await provider_of(vault).read("ns/x")
        assert refusal.value.reason == "login_refused"
