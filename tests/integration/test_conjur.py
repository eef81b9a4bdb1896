"""CyberArk Conjur as a vault: the provider against a server as strict as Conjur's documentation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from broker.core.secret import Secret
from broker.remote.conjur import Conjur
from broker.remote.failure import Malformed, Missing, Refused, Unreachable
from broker.secrets.providers.cyberark import CyberArkProvider
from tests.fakes.cache import MovedClock
from tests.fakes.certificates import ServerCertificate, server_certificate
from tests.fakes.conjur import FakeConjur

BROKER, KEY = "host/apps/broker", "1k9f-api-key"
PATH = "apps/db/password"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return server_certificate(tmp_path_factory.mktemp("conjur"), "ecdsa-sha256")


@pytest.fixture
def server(certificate: ServerCertificate) -> Iterator[FakeConjur]:
    with FakeConjur(certificate) as fake:
        fake.api_keys[BROKER] = KEY
        fake.declare(PATH, BROKER, "read", "execute", "update")
        yield fake


@pytest.fixture
async def client(server: FakeConjur) -> AsyncIterator[Conjur]:
    made = conjur(server)
    yield made
    await made.close()


@pytest.fixture
def vault(client: Conjur) -> CyberArkProvider:
    return CyberArkProvider(conjur=client)


def conjur(server: FakeConjur, *, key: str = KEY, clock: MovedClock | None = None) -> Conjur:
    return Conjur(
        url=server.url, account="myorg", login=BROKER, api_key=Secret(key),
        ca_file=str(server.certificate.certificate), clock=clock or MovedClock(),
    )  # fmt: skip


def logins(server: FakeConjur) -> int:
    return len([path for _, path, _ in server.requests if path.endswith("/authenticate")])


async def test_each_value_becomes_a_version_that_can_be_read(vault: CyberArkProvider, server: FakeConjur) -> None:
    assert await vault.write(PATH, {"value": Secret("first é")}) == "1"
    assert await vault.write(PATH, {"value": Secret("second")}) == "2"
    newest = await vault.read(PATH)
    assert (newest.number, newest.fields["value"].reveal()) == ("2", "second")
    assert (await vault.read(PATH, version="1")).fields["value"].reveal() == "first é"
    assert server.variables[PATH] == ["first é".encode(), b"second"]
    for version in ("3", "latest", "-1", "9" * 5000):
        with pytest.raises(Missing):
            await vault.read(PATH, version=version)


@pytest.mark.parametrize(
    "fields",
    [{"user": "u", "password": "p"}, {"value": '{"a": "b"}'}, {"value": "{}"}, {"value": "7"}, {"other": "x"}],
    ids=str,
)
async def test_fields_come_back_as_they_were_written(vault: CyberArkProvider, fields: dict[str, str]) -> None:
    await vault.write(PATH, {name: Secret(value) for name, value in fields.items()})
    found = (await vault.read(PATH)).fields
    assert {name: value.reveal() for name, value in found.items()} == fields


async def test_conjur_keeps_twenty_versions_and_the_newest_is_still_found(vault: CyberArkProvider) -> None:
    for number in range(21):
        await vault.write(PATH, {"value": Secret(f"v{number + 1}")})
    assert (await vault.read(PATH)).number == "21"
    with pytest.raises(Missing):
        await vault.read(PATH, version="1")


async def test_what_conjur_cannot_do_is_refused_and_nothing_is_sent(
    vault: CyberArkProvider, server: FakeConjur
) -> None:
    value = {"value": Secret("x")}
    for act, reason in (
        (vault.delete(PATH), "delete_unsupported"),
        (vault.write(PATH, value, cas=0), "cas_unsupported"),
        (vault.write(PATH, {"value": Secret("")}), "empty_value"),
    ):
        with pytest.raises(Refused) as refused:
            await act
        assert refused.value.reason == reason
    assert server.requests == []


async def test_a_variable_that_no_policy_declares_cannot_be_written(vault: CyberArkProvider) -> None:
    with pytest.raises(Refused) as refused:
        await vault.write("apps/other", {"value": Secret("x")})
    assert refused.value.reason == "not_declared"
    with pytest.raises(Missing):
        await vault.read("apps/other")
    with pytest.raises(Missing):
        await vault.read(PATH)


async def test_what_a_policy_does_not_permit_is_refused(vault: CyberArkProvider, server: FakeConjur) -> None:
    server.declare("apps/seen", BROKER, "read")
    server.variables["apps/seen"] = [b"x"]
    for act in (vault.read("apps/seen"), vault.write("apps/seen", {"value": Secret("x")})):
        with pytest.raises(Refused) as refused:
            await act
        assert refused.value.reason == "not_permitted"


async def test_a_list_is_read_to_its_end(vault: CyberArkProvider, server: FakeConjur) -> None:
    for number in range(2005):
        server.declare(f"many/n{number:04}", BROKER, "read")
    server.declare("many/with space", BROKER, "read")
    server.declare("hidden/other", "host/other", "read")
    assert await vault.list("many") == [f"many/n{number:04}" for number in range(2005)]
    assert await vault.list("man") == []
    assert PATH in await vault.list("")
    assert await vault.list("hidden") == []


async def test_a_token_serves_five_minutes_and_many_requests_share_one_login(server: FakeConjur) -> None:
    clock = MovedClock()
    client = conjur(server, clock=clock)
    server.variables[PATH] = [b"1"]
    await asyncio.gather(*(client.value(PATH, version=1) for _ in range(8)))
    assert logins(server) == 1
    clock.move(timedelta(seconds=301))
    await client.value(PATH, version=1)
    assert logins(server) == 2
    await client.close()


async def test_a_token_that_conjur_no_longer_takes_is_replaced_once(client: Conjur, server: FakeConjur) -> None:
    server.variables[PATH] = [b"1"]
    await client.value(PATH, version=1)
    server.skew = 481
    await client.value(PATH, version=1)
    assert logins(server) == 2
    server.scripted = [401, 0, 401]
    with pytest.raises(Refused) as refused:
        await client.value(PATH, version=1)
    assert refused.value.reason == "token_refused"


async def test_a_wrong_key_is_refused_at_once_and_shows_nowhere(server: FakeConjur) -> None:
    client = conjur(server, key="canary-key")
    vault = CyberArkProvider(conjur=client)
    with pytest.raises(Refused) as refused:
        await vault.read(PATH)
    assert refused.value.reason == "login_refused"
    assert "canary" not in f"{refused.value!r} {await vault.ping()}"
    await client.close()


async def test_a_server_that_is_unwell_is_asked_again_and_a_hanging_one_given_up(
    vault: CyberArkProvider, server: FakeConjur
) -> None:
    server.variables[PATH] = [b"1"]
    assert await vault.ping() is None
    server.scripted = [503, 500]
    assert (await vault.read(PATH)).number == "1"
    server.answers.clear()
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Unreachable):
        await vault.read(PATH)
    assert asyncio.get_running_loop().time() - begun < 20
    server.answers.set()


async def test_what_is_no_text_is_not_handed_out(vault: CyberArkProvider, server: FakeConjur) -> None:
    server.variables[PATH] = [b"\xff"]
    with pytest.raises(Malformed):
        await vault.read(PATH)
