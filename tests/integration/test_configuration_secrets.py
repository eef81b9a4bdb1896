"""Values of the configuration that stand in a real vault: read at loading, by check-config and at a reload."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.assembly.keys import keys_of
from broker.assembly.resolver import VaultResolver
from broker.config.load import load
from broker.config.model import Settings
from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError, ConfigurationUnavailable
from broker.core.secret import Secret
from broker.keys.hierarchy import Use
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault
from tests.fakes.bao import MOUNT, AppRole, BaoServer
from tests.fakes.broker import PROGRAMS, configuration

ALLOWED = (
    f'path "{MOUNT}/data/redis" {{ capabilities = ["read"] }} path "{MOUNT}/data/gone" {{ capabilities = ["read"] }}'
)


@dataclass
class Site:
    """A configuration whose Redis password stands in the vault."""

    folder: Path
    bao: BaoServer
    login: AppRole

    def write(self, **sections: Any) -> Path:
        keytab = self.folder / "http.keytab"
        keytab.touch(mode=0o600)
        redis = {"url": "redis://localhost", "password_secret": "redis#password"}
        settings = configuration(
            self.folder,
            keytab=keytab,
            sts_endpoint="http://127.0.0.1:1",
            **{"redis": redis, "secrets": self.section(), **sections},
        )
        path = self.folder / "config.yaml"
        path.touch(mode=0o600)
        path.write_text(json.dumps(settings, indent=1))
        return path

    def section(self, **config: str) -> dict[str, Any]:
        login = {"role_id": self.login.role_id, "secret_id": self.login.secret_id, "mount_path": MOUNT}
        where = {"url": self.bao.url, "ca_file": str(self.bao.ca_file), "auth_method": "approle"}
        return {"provider": "hashicorp", "config": {**where, **login, **config}}

    def load(self, *, patience: float = 20.0, sections: frozenset[str] | None = None, **others: Any) -> Settings:
        resolver = VaultResolver(patience=patience, sections=sections)
        return load(self.write(**others), environ={}, signs=False, resolver=resolver)

    def refused(self, **others: Any) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            self.load(**others)
        assert "canary" not in str(caught.value)
        return caught.value.problems


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaoServer]:
    with BaoServer.start(tmp_path_factory.mktemp("bao")) as server:
        server.api("POST", f"{MOUNT}/data/redis", {"data": {"password": "canary-redis", "user": "broker"}})
        server.policy("broker", ALLOWED)
        yield server


@pytest.fixture
def site(bao: BaoServer, tmp_path: Path) -> Site:
    return Site(tmp_path, bao, bao.approle("broker", "broker", token_ttl="1m"))


def password(settings: Settings) -> str:
    assert settings.redis is not None
    assert settings.redis.password is not None
    return settings.redis.password.reveal()


def test_a_reference_is_read_from_the_vault_that_the_file_names(site: Site) -> None:
    assert password(site.load()) == "canary-redis"


async def test_it_is_read_in_a_program_whose_own_loop_runs(site: Site) -> None:
    assert password(await asyncio.to_thread(site.load)) == "canary-redis"
    assert password(site.load()) == "canary-redis"


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("gone#password", "redis.password: stands in a secret that is not there — fix: put it there"),
        ("canary#password", "redis.password: stands in a secret that the vault does not let us read — fix: allow it"),
        ("../canary", "redis.password: does not say where its secret stands — fix: write PATH#FIELD with a path of"),
        ("redis#canary", "redis.password: stands in a secret without that field — fix: name another"),
    ],
)
def test_what_the_vault_does_not_give_is_one_line_with_its_place(site: Site, reference: str, what: str) -> None:
    (line,) = site.refused(redis={"url": "redis://localhost", "password_secret": reference})
    assert what in line
    place = line.partition(" ")[0].rstrip(":")
    file, _, number = place.rpartition(":")
    assert "password_secret" in Path(file).read_text().splitlines()[int(number) - 1]


def test_a_login_that_is_refused_is_one_line_for_all_keys(site: Site) -> None:
    chain = [{"arn": "arn:aws:iam::111122223333:role/Developer", "external_id_secret": "redis#user"}]
    section = site.section(secret_id="canary-not-the-secret-id")
    (line,) = site.refused(secrets=section, roles={"developer": {"chain": chain}})
    assert "stands in the vault (hashicorp), which refuses us: the login by approle fails" in line


def test_check_config_says_what_is_not_there_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.write(redis={"url": "redis://localhost", "password_secret": "gone#password"})
    command = [str(PROGRAMS / "zerotrust-broker"), "check-config", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 78
    assert "redis.password: stands in a secret that is not there" in done.stderr
    # At once: nobody waits here until one appears.
    monkeypatch.setattr(asyncio, "sleep", lambda _seconds: pytest.fail("it waits"))
    with pytest.raises(ConfigurationError, match="in a secret that is not there"):
        site.load(redis={"url": "redis://localhost", "password_secret": "gone#password"})


def test_a_vault_that_is_sealed_or_away_may_answer_later_and_commands_that_need_nothing_do_not_ask_it(
    site: Site,
) -> None:
    site.bao.seal()
    try:
        with pytest.raises(ConfigurationUnavailable, match=r"which does not answer: .*sealed") as caught:
            site.load(patience=1.0)
        assert len(caught.value.problems) == 1
        began = time.monotonic()
        settings = site.load(sections=frozenset({"encryption"}))
        assert len(settings.encryption.key_bytes()) == 32
        assert time.monotonic() - began < 5
        with pytest.raises(ConfigurationError, match=r"redis\.password: stands in the vault"):
            password(settings)
    finally:
        site.bao.unseal()


def test_a_vault_that_comes_up_meanwhile_is_waited_for(site: Site) -> None:
    site.bao.seal()

    async def both() -> Settings:
        loading = asyncio.create_task(asyncio.to_thread(site.load, patience=60.0))
        await asyncio.sleep(0.7)
        await asyncio.to_thread(site.bao.unseal)
        return await loading

    assert password(asyncio.run(both())) == "canary-redis"


async def put_into_the_integrated_vault(settings: Settings, path: str, **fields: str) -> None:
    store = SqliteStore(directory=settings.state_directory)
    # As a broker that starts makes them.
    keys = await keys_of(settings, clock=SystemClock())
    vault = Vault(store=store, envelope=keys.hierarchy.envelope(Use.VAULT_SEAL), clock=SystemClock())
    await vault.write(path, {name: Secret(value) for name, value in fields.items()})
    await vault.close()
    await keys.close()


def test_the_integrated_vault_gives_values_to_the_configuration_too(site: Site, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    here: dict[str, Any] = {"secrets": {}, "state": {"directory": str(tmp_path / "state")}}
    plain = {"url": "redis://localhost"}
    asyncio.run(put_into_the_integrated_vault(site.load(redis=plain, **here), "own/redis", value="canary-own"))
    assert password(site.load(redis={**plain, "password_secret": "own/redis"}, **here)) == "canary-own"
    (line,) = site.refused(redis={**plain, "password_secret": "own/nothing"}, **here)
    assert "redis.password: stands in a secret that is not there" in line
