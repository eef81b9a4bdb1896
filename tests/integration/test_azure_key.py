"""A key of Azure Key Vault, by Microsoft's SDK, against a strict Entra ID and Key Vault under their real names."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from secrets import token_hex

import pytest

from broker.core.secret import Secret
from broker.remote.azure import AzureLogin, AzureVault
from broker.remote.azure_key import AzureKey
from broker.remote.failure import Malformed, Missing, Refused, Unreachable
from tests.fakes.azure import AzureCloud
from tests.fakes.azure.entra import HOST as ENTRA

KEK = b"K" * 32
HERE = b"keyring/1"


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureCloud]:
    # The SDK keeps challenges for the life of the process, by the vault's name.
    name = f"zerotrust-{token_hex(4)}"
    with AzureCloud(tmp_path_factory.mktemp("azure"), vault=name) as running, running.named():
        running.vault.keys.make("master")
        yield running


def login(cloud: AzureCloud, secret: list[str]) -> AzureLogin:
    return AzureLogin(
        tenant_id=cloud.entra.tenant,
        client_id=cloud.entra.application,
        client_secret=lambda: Secret(secret[0]),
        ca_file=cloud.ca_file,
    )


@pytest.fixture
def secret(cloud: AzureCloud) -> list[str]:
    """The secret as the broker has it: what a file holds."""
    return [cloud.secret]


@pytest.fixture
async def vault(cloud: AzureCloud, secret: list[str]) -> AsyncIterator[AzureVault]:
    opened = AzureVault(cloud.vault.url, login=login(cloud, secret))
    yield opened
    await opened.close()
    await cloud.left()


@pytest.fixture
def key(vault: AzureVault) -> AzureKey:
    return AzureKey("master", vault=vault)


async def test_what_was_wrapped_is_unwrapped_in_its_place_and_in_no_other(cloud: AzureCloud, key: AzureKey) -> None:
    blob = await key.wrap(KEK, context=HERE)
    assert await key.unwrap(blob, context=HERE) == KEK
    cloud.calls.clear()
    with pytest.raises(Refused) as refused:
        await key.unwrap(blob, context=b"keyring/2")
    assert refused.value.reason == "does_not_open"
    assert not [call for call in cloud.calls if call[2].endswith("unwrapkey")]


async def test_a_wrapping_that_anybody_could_make_with_the_public_key_is_refused(key: AzureKey) -> None:
    mine = json.loads(await key.wrap(KEK, context=HERE))
    other = json.loads(await key.wrap(b"E" * 32, context=HERE))
    forged = json.dumps({**other, "signature": mine["signature"]}).encode()
    with pytest.raises(Refused) as refused:
        await key.unwrap(forged, context=HERE)
    assert refused.value.reason == "does_not_open"


@pytest.mark.parametrize("blob", [b"", b"{}", b"[]", b'{"version":"../../secrets/x","key":"","signature":""}', b"\xff"])
async def test_what_is_no_blob_is_refused_without_a_question(cloud: AzureCloud, key: AzureKey, blob: bytes) -> None:
    with pytest.raises(Refused):
        await key.unwrap(blob, context=HERE)
    assert cloud.calls == []


async def test_after_a_rotation_the_new_version_wraps_and_the_old_one_unwraps(key: AzureKey) -> None:
    old = await key.wrap(KEK, context=HERE)
    await key.rotate()
    new = await key.wrap(KEK, context=HERE)
    assert key.version_of(old) != key.version_of(new) == await key.newest()
    assert await key.unwrap(old, context=HERE) == await key.unwrap(new, context=HERE) == KEK


async def test_a_token_lasts_for_many_questions(cloud: AzureCloud, key: AzureKey) -> None:
    for _ in range(3):
        await key.wrap(KEK, context=HERE)
    assert len([call for call in cloud.calls if call[0] == ENTRA]) == 1


async def test_a_secret_that_was_rotated_under_us_is_picked_up(
    cloud: AzureCloud, key: AzureKey, secret: list[str]
) -> None:
    blob = await key.wrap(KEK, context=HERE)
    secret[0] = cloud.entra.rotate()
    cloud.entra.expire()
    assert await key.unwrap(blob, context=HERE) == KEK


async def test_a_wrong_secret_is_refused_once_and_not_tried_on(cloud: AzureCloud, key: AzureKey) -> None:
    cloud.entra.rotate()
    with pytest.raises(Refused) as refused:
        await key.newest()
    assert refused.value.reason == "login_refused"
    assert cloud.entra.refused == 1


async def test_the_secret_goes_to_our_tenant_whatever_the_vault_says(cloud: AzureCloud, key: AzureKey) -> None:
    cloud.vault.challenge_tenant = "11111111-2222-3333-4444-555555555555"
    await key.newest()
    assert {call[2].split("/")[1] for call in cloud.calls if call[0] == ENTRA} == {cloud.entra.tenant}


async def test_a_vault_that_wants_tokens_for_somebody_else_gets_none(cloud: AzureCloud, key: AzureKey) -> None:
    cloud.vault.challenge_resource = "https://management.azure.com"
    with pytest.raises(Malformed):
        await key.newest()
    assert not [call for call in cloud.calls if call[0] == ENTRA]


async def test_a_disabled_key_is_named_so_and_so_is_one_that_is_not_there(cloud: AzureCloud, vault: AzureVault) -> None:
    cloud.vault.keys.held["master"][-1].enabled = False
    with pytest.raises(Refused) as refused:
        await AzureKey("master", vault=vault).wrap(KEK, context=HERE)
    assert refused.value.reason == "disabled"
    with pytest.raises(Missing):
        await AzureKey("nobody", vault=vault).newest()


async def test_a_key_that_may_not_sign_is_refused_at_the_first_wrapping(cloud: AzureCloud, key: AzureKey) -> None:
    cloud.vault.keys.ops = ("wrapKey", "unwrapKey")
    with pytest.raises(Refused):
        await key.wrap(KEK, context=HERE)


@pytest.mark.parametrize("host", ["vault", ENTRA])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [("error500", Unreachable), ("throttle", Unreachable), ("html", Malformed), ("empty", Malformed)],
)
async def test_what_is_no_answer_is_told_as_what_it_is(
    cloud: AzureCloud, key: AzureKey, host: str, fault: str, kind: type[Exception]
) -> None:
    cloud.fail(fault, host=ENTRA if host == ENTRA else cloud.vault.host)
    with pytest.raises(kind):
        await key.newest()


async def test_who_is_throttled_comes_back_when_told_to_and_not_before(cloud: AzureCloud, key: AzureKey) -> None:
    await key.newest()
    cloud.fail("throttle", times=1, value="1")
    before = time.monotonic()
    await key.newest()
    assert time.monotonic() - before >= 1
    cloud.calls.clear()
    cloud.fail("throttle", value="60")
    with pytest.raises(Unreachable) as failed:
        await key.newest()
    assert failed.value.reason == "throttled"
    assert len(cloud.calls) == 1


async def test_an_address_without_tls_is_not_spoken_to(cloud: AzureCloud, secret: list[str]) -> None:
    with pytest.raises(ValueError, match="https"):
        AzureVault("http://127.0.0.1:8200", login=login(cloud, secret))
