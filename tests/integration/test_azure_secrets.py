"""Azure Key Vault as a vault behind the broker, by Microsoft's SDK, against a strict Entra ID and Key Vault."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from broker.assembly.clouds import key_vault, problems_of
from broker.config.load import load
from broker.core.secret import Secret
from broker.remote.azure_secrets import TEXT_MAX
from broker.remote.failure import Malformed, Missing, Refused, RemoteFailure, Unreachable
from broker.secrets.provider import Provider, Version
from broker.secrets.providers.azure import name_of
from tests.fakes.azure import AzureCloud
from tests.unit.config.conftest import MINIMAL, Host
from tests.unit.config.conftest import host as host  # noqa: PLC0414  # a fixture, by its name
from tests.unit.config.test_secrets_clouds import AZURE as GUIDE

CANARY = "canary-9e2d"
LONG = "Services/" + "x" * 200


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureCloud]:
    # The SDK keeps challenges for the life of the process, by the vault's name.
    name = f"zerotrust-{token_hex(4)}"
    with AzureCloud(tmp_path_factory.mktemp("azure"), vault=name) as running, running.named():
        yield running


@pytest.fixture
def secret_file(cloud: AzureCloud, tmp_path: Path) -> Path:
    file = tmp_path / "client_secret"
    file.touch(mode=0o600)
    file.write_text(cloud.secret + "\n")
    return file


@pytest.fixture
async def vault(cloud: AzureCloud, host: Host, secret_file: Path) -> AsyncIterator[Provider]:
    """As the guide's YAML makes it, but for the place of the secret and for who signs certificates here."""
    text = GUIDE.replace("https://zerotrust.vault.azure.net/", cloud.vault.url)
    text = text.replace("client_secret: ${AZURE_CLIENT_SECRET}", f"client_secret_file: {secret_file}")
    environment = {"AZURE_TENANT_ID": cloud.entra.tenant, "AZURE_CLIENT_ID": cloud.entra.application}
    settings = load(
        host.file("config.yaml", MINIMAL + text + f"    ca_file: {cloud.ca_file}\n"), environ=host.environ | environment
    )
    assert problems_of(settings) == []
    made = key_vault(settings.secrets.config)
    yield made
    await made.close()
    await cloud.left()


def rotate(cloud: AzureCloud, secret_file: Path) -> None:
    secret_file.write_text(cloud.entra.rotate() + "\n")
    cloud.entra.expire()


def fields(**values: str) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in values.items()}


def shown(version: Version) -> dict[str, str]:
    return {name: secret.reveal() for name, secret in version.fields.items()}


async def test_the_guides_yaml_is_a_working_vault_with_versions(vault: Provider) -> None:
    first = await vault.write("db/prod", fields(user="app", password="one"))
    second = await vault.write("db/prod", fields(user="app", password="two"))
    newest = await vault.read("db/prod")
    assert (newest.number, shown(newest)) == (second, {"user": "app", "password": "two"})
    assert newest.made is not None
    assert shown(await vault.read("db/prod", version=first))["password"] == "one"
    for nobody in ("f" * 32, "../../keys/master", "1"):
        with pytest.raises(Missing):
            await vault.read("db/prod", version=nobody)


async def test_what_others_made_there_is_read_and_they_read_what_we_write(cloud: AzureCloud, vault: Provider) -> None:
    cloud.vault.put("MyApp--ApiKey", "plain")
    assert shown(await vault.read("myapp/apikey")) == {"value": "plain"}
    await vault.write("db-password", fields(value="text"))
    assert cloud.vault.secrets["db-password"][-1].value == "text"


async def test_a_path_that_is_too_long_for_a_name_is_known_by_its_tag(cloud: AzureCloud, vault: Provider) -> None:
    await vault.write(LONG, fields(value="x"))
    assert shown(await vault.read(LONG)) == {"value": "x"}
    assert await vault.list("Services") == [LONG]
    # Who may write in the vault may not make one secret another.
    cloud.vault.put(name_of(LONG), "forged", tags={"path": "Services/other"})
    with pytest.raises(Malformed) as malformed:
        await vault.read(LONG)
    assert malformed.value.reason == "other_path"


async def test_paths_below_a_prefix_are_listed_page_by_page(cloud: AzureCloud, vault: Provider) -> None:
    for number in range(60):
        cloud.vault.put(f"many--{number:03}", "x")
    for name in ("many", "manyfold", "many----", "other--many--1"):
        cloud.vault.put(name, "x")
    assert await vault.list("many") == [f"many/{number:03}" for number in range(60)]
    assert await vault.list("") == ["many", *(f"many/{n:03}" for n in range(60)), "manyfold", "other/many/1"]


async def test_a_deleted_secret_is_gone_and_comes_back_with_a_write(cloud: AzureCloud, vault: Provider) -> None:
    await vault.write("a/b", fields(value="one"))
    await vault.delete("a/b")
    for question in (vault.read("a/b"), vault.delete("a/b")):
        with pytest.raises(Missing):
            await question
    assert await vault.list("a") == []
    await vault.write("a/b", fields(value="two"))
    assert shown(await vault.read("a/b")) == {"value": "two"}
    assert len(cloud.vault.secrets["a--b"]) == 2


async def test_a_secret_that_is_still_on_its_way_back_is_waited_for_and_not_for_ever(
    cloud: AzureCloud, vault: Provider
) -> None:
    await vault.write("a", fields(value="one"))
    await vault.delete("a")
    cloud.vault.recovering["a"] = 1
    await vault.write("a", fields(value="two"))
    await vault.delete("a")
    cloud.vault.recovering["a"] = 1000
    with pytest.raises(Unreachable) as failed:
        await vault.write("a", fields(value="three"))
    assert failed.value.reason in {"being_recovered", "timeout"}


async def test_check_and_set_is_not_promised(cloud: AzureCloud, vault: Provider) -> None:
    for cas in (0, 1):
        with pytest.raises(Refused) as refused:
            await vault.write("a", fields(value="x"), cas=cas)
        assert refused.value.reason == "cas_unsupported"
    assert cloud.calls == []


async def test_a_disabled_secret_is_said_to_be(cloud: AzureCloud, vault: Provider) -> None:
    await vault.write("a", fields(value="x"))
    cloud.vault.secrets["a"][-1].enabled = False
    with pytest.raises(Refused) as refused:
        await vault.read("a")
    assert refused.value.reason == "disabled"


async def test_what_the_application_may_not_is_refused_once(cloud: AzureCloud, vault: Provider) -> None:
    cloud.vault.allowed = {"secrets/get"}
    questions = [vault.write("a", fields(value="x")), vault.list(""), vault.delete("a")]
    for question in questions:
        with pytest.raises(Refused) as refused:
            await question
        assert refused.value.reason == "access_denied"


async def test_too_much_is_not_sent(cloud: AzureCloud, vault: Provider) -> None:
    with pytest.raises(Refused):
        await vault.write("big", fields(value="x" * (TEXT_MAX + 1)))
    assert cloud.calls == []


async def test_a_client_secret_that_was_rotated_in_its_file_is_picked_up(
    cloud: AzureCloud, vault: Provider, secret_file: Path
) -> None:
    await vault.write("a", fields(value="x"))
    rotate(cloud, secret_file)
    assert shown(await vault.read("a")) == {"value": "x"}


async def test_a_write_is_made_once_also_where_its_answer_was_lost(cloud: AzureCloud, vault: Provider) -> None:
    await vault.write("a", fields(value="one"))
    cloud.fail("lost", times=1)
    with pytest.raises(Unreachable):
        await vault.write("a", fields(value="two"))
    assert len(cloud.vault.secrets["a"]) == 2
    cloud.fail("throttle", times=1)
    await vault.write("a", fields(value="three"))
    assert len(cloud.vault.secrets["a"]) == 3


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("error500", Unreachable),
        ("html", Malformed),
        ("empty", Malformed),
        ("garbage", Malformed),
    ],
)
async def test_what_is_no_answer_is_told_as_what_it_is_whatever_was_asked(
    cloud: AzureCloud, vault: Provider, fault: str, kind: type[RemoteFailure]
) -> None:
    cloud.fail(fault)
    assert await vault.ping() is not None
    for question in (vault.read("a"), vault.write("a", fields(value="x")), vault.delete("a"), vault.list("")):
        with pytest.raises(kind) as failed:
            await question
        assert type(failed.value) is kind
    cloud.recover()
    assert await vault.ping() is None


async def test_a_vault_that_says_nothing_is_given_up_by_everybody_who_asks(cloud: AzureCloud, vault: Provider) -> None:
    cloud.fail("hang")
    asked = [vault.read("a"), vault.write("a", fields(value="x")), vault.delete("a"), vault.list(""), vault.ping()]
    before = time.monotonic()
    *failures, said = await asyncio.gather(*asked, return_exceptions=True)  # type: ignore[arg-type]
    assert time.monotonic() - before < 15
    assert [type(failure) for failure in failures] == [Unreachable] * 4
    assert said == "no answer in time"
    cloud.recover()
    assert await vault.ping() is None


async def test_no_value_no_token_and_no_client_secret_is_in_any_log_at_any_level(
    cloud: AzureCloud, vault: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await vault.write("a", fields(value=CANARY))
    assert shown(await vault.read("a")) == {"value": CANARY}
    cloud.fail("garbage", times=1)
    with pytest.raises(Malformed) as malformed:
        await vault.write("a", fields(value=CANARY))
    known = cloud.secret
    cloud.entra.rotate()
    cloud.entra.expire()
    with pytest.raises(Refused) as refused:
        await vault.read("a")
    said = caplog.text + str(malformed.value) + str(refused.value)
    for canary in (CANARY, known, *cloud.entra.tokens):
        assert canary not in said
    # Addresses of secrets and Entra's own words are nobody's to read either.
    assert not [record for record in caplog.records if record.name.startswith(("azure", "msal"))]
