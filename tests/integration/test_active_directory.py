"""A real Active Directory: tickets of a Samba domain controller, their PACs read by us and by Samba, and the broker."""

from __future__ import annotations

import base64
import http.client
import json
import random
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import gssapi
import pytest

from broker.authn import pac
from broker.authn.keytab import read as read_keytab
from broker.authn.pac import SERVICE_ASSERTED_IDENTITY, within
from tests.fakes.active_directory import DOMAIN_SID, ActiveDirectory, groups, samba_reads, samba_writes, users
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import RealmError
from tests.fakes.sts import StrictSts, demo_world
from tests.vectors.pac.build import expected

if TYPE_CHECKING:
    from collections.abc import Iterator

PEOPLE = [name for name, user in users().items() if not user.disabled]

# Who logged on with a key of their own (MS-DTYP section 2.4.2.4): the KDC adds it to every ticket of a login.
AUTHENTICATED_BY_THE_KDC = "S-1-18-1"
BUILT_IN = "S-1-5-32"

HEADER_LIMIT = 131_072  # bytes; kerberos.md


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ActiveDirectory]:
    with ActiveDirectory.start(tmp_path_factory.mktemp("active-directory") / "domain") as running:
        yield running


@pytest.fixture(scope="module")
def broker(directory: ActiveDirectory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    folder = tmp_path_factory.mktemp("broker")
    with StrictSts(demo_world()) as sts:
        settings = configuration(
            folder,
            keytab=directory.http_keytab,
            sts_endpoint=sts.url,
            kerberos={"keytabs": [str(directory.http_keytab)], "realms": {directory.name: {}}},
            rules=[{"name": "big", "principals": [f"thousand@{directory.name}"], "roles": ["developer"]}],
        )
        with BrokerProcess(folder, settings, env=directory.env) as running:
            yield running


@pytest.fixture
def thousand(directory: ActiveDirectory, tmp_path: Path) -> dict[str, str]:
    return directory.kinit("thousand", tmp_path / "thousand", options=["-f"])


def delegating_token(directory: ActiveDirectory, client: dict[str, str]) -> bytes:
    """A token with the user's own ticket-granting ticket in it, which has a PAC of the same size."""
    with directory.entered():
        context = gssapi.SecurityContext(
            name=gssapi.Name("HTTP@localhost", gssapi.NameType.hostbased_service),
            creds=gssapi.Credentials(usage="initiate", store={"ccache": client["KRB5CCNAME"]}),
            mech=gssapi.OID.from_int_seq("1.3.6.1.5.5.2"),
            flags=[gssapi.RequirementFlag.mutual_authentication, gssapi.RequirementFlag.delegate_to_peer],
            usage="initiate",
        )
        return context.step() or b""


def header(token: bytes) -> str:
    return f"Negotiate {base64.b64encode(token).decode()}"


def ask(broker: BrokerProcess, authorization: str) -> tuple[int, dict[str, Any]]:
    """POST /v1/credentials for developer."""
    where = urlsplit(broker.url)
    connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=30)
    headers = {
        "Host": where.netloc,
        "Authorization": authorization,
        "Content-Type": "application/json",
        "X-Zerotrust-Request": "1",
    }
    connection.request("POST", "/v1/credentials", body='{"role":"developer"}', headers=headers)
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body


@pytest.mark.parametrize("user", PEOPLE)
def test_the_groups_in_a_ticket_are_those_that_samba_reads_and_the_directory_reckons(
    directory: ActiveDirectory, tmp_path: Path, user: str
) -> None:
    token = directory.client_token(directory.kinit(user, tmp_path / user))
    logon_info = directory.logon_info(token)
    found = pac.groups(logon_info)

    (reading,) = samba_reads(logon_info)
    assert expected(reading) == {
        "account": user,
        "domain_sid": found.domain_sid,
        "user_sid": found.user_sid,
        "groups": sorted(found.groups),
    }
    assert (found.domain_sid, found.user_sid) == (DOMAIN_SID, directory.sids[user])
    # Built-in groups belong to the machine that a user logs on to: a KDC puts none into a ticket.
    reckoned = {sid for sid in directory.token_groups[user] if not within(BUILT_IN, sid)}
    assert found.groups - {AUTHENTICATED_BY_THE_KDC} == reckoned


@pytest.mark.parametrize(("user", "count"), [("one", 1), ("threehundred", 300), ("thousand", 1_000)])
def test_users_are_in_as_many_teams_as_they_are_called(
    directory: ActiveDirectory, tmp_path: Path, user: str, count: int
) -> None:
    token = directory.client_token(directory.kinit(user, tmp_path / user))
    found = pac.groups(directory.logon_info(token)).groups
    teams = {directory.sids[name] for name in groups() if name.startswith("team-")}
    assert len(found & teams) == count
    assert all(within(DOMAIN_SID, sid) for sid in found & teams)


def test_groups_in_groups_and_resource_groups_are_in_the_ticket(directory: ActiveDirectory, tmp_path: Path) -> None:
    names = {sid: name for name, sid in directory.sids.items()}
    found = {
        user: {
            names.get(sid, sid)
            for sid in pac.groups(
                directory.logon_info(directory.client_token(directory.kinit(user, tmp_path / user)))
            ).groups
        }
        for user in ("nested", "borrower")
    }
    assert found == {
        "nested": {"Domain Users", "inner", "middle", "outer", "printers", AUTHENTICATED_BY_THE_KDC},
        "borrower": {"Domain Users", "printers", AUTHENTICATED_BY_THE_KDC},
    }


def test_a_disabled_user_gets_no_ticket(directory: ActiveDirectory, tmp_path: Path) -> None:
    with pytest.raises(RealmError, match="credentials have been revoked"):
        directory.kinit("disabled", tmp_path / "disabled")


def test_a_ticket_that_a_service_got_in_a_users_name_is_marked(directory: ActiveDirectory, tmp_path: Path) -> None:
    impersonated = pac.groups(directory.logon_info(directory.impersonated_token("thousand", tmp_path / "service")))
    own = pac.groups(directory.logon_info(directory.client_token(directory.kinit("thousand", tmp_path / "own"))))
    assert impersonated.user_sid == own.user_sid
    assert impersonated.groups ^ own.groups == {SERVICE_ASSERTED_IDENTITY, AUTHENTICATED_BY_THE_KDC}


def test_the_exported_keytab_is_private_and_has_aes_keys_only(directory: ActiveDirectory) -> None:
    assert stat.S_IMODE(directory.http_keytab.stat().st_mode) == 0o600
    assert {(key.components, key.realm, key.enctype) for key in read_keytab(directory.http_keytab)} == {
        (("HTTP", "localhost"), directory.name, 17),
        (("HTTP", "localhost"), directory.name, 18),
    }


def test_the_domain_controller_comes_back_on_its_port(directory: ActiveDirectory, tmp_path: Path) -> None:
    port = directory.port
    directory.stop()
    with pytest.raises(RealmError, match="Cannot contact any KDC"):
        directory.kinit("one", tmp_path / "one")
    directory.start_kdc()
    assert directory.port == port
    assert directory.kinit("one", tmp_path / "one")["KRB5CCNAME"]


def random_logon(chance: random.Random) -> dict[str, Any]:
    """A description for Samba's writer, with everything that may vary varied."""

    def sid(parts: int) -> str:
        return "-".join(["S", "1", "5", *(str(chance.getrandbits(32)) for _ in range(parts))])

    def memberships() -> list[list[int]]:
        return [
            [chance.getrandbits(32), chance.choice((0, 1, 4, 7, 0x14, 0x2000_0007))] for _ in range(chance.randrange(5))
        ]

    resource_domain = chance.choice([None, sid(4)])
    return {
        "domain_sid": sid(chance.randint(1, 14)),
        "user_rid": chance.randint(1, 0xFFFF_FFFF),
        "primary_rid": chance.getrandbits(32),
        "rids": memberships(),
        "sids": [[sid(chance.randint(1, 15)), attributes] for _, attributes in memberships()],
        "resource_domain_sid": resource_domain,
        "resource_rids": memberships() if resource_domain else [],
        "strings": ["é" * chance.randrange(8) for _ in range(8)],
    }


def test_whatever_samba_writes_is_read_as_samba_reads_it() -> None:
    chance = random.Random(25)  # noqa: S311 - repeatable on purpose
    logon_infos = samba_writes(*(random_logon(chance) for _ in range(500)))
    for logon_info, reading in zip(logon_infos, samba_reads(*logon_infos), strict=True):
        found = pac.groups(logon_info)
        wanted = expected(reading)
        assert (found.account, found.domain_sid, found.user_sid) == (
            wanted["account"],
            wanted["domain_sid"],
            wanted["user_sid"],
        )
        assert sorted(found.groups) == wanted["groups"]


def test_a_user_of_a_thousand_groups_gets_credentials(
    directory: ActiveDirectory, broker: BrokerProcess, thousand: dict[str, str]
) -> None:
    authorization = header(directory.client_token(thousand))
    assert 12_000 < len(authorization) < HEADER_LIMIT
    status, body = ask(broker, authorization)
    assert (status, body.get("Version")) == (200, 1), body


def test_a_user_of_a_thousand_groups_who_delegates_gets_credentials(
    directory: ActiveDirectory, broker: BrokerProcess, thousand: dict[str, str]
) -> None:
    authorization = header(delegating_token(directory, thousand))
    assert 24_000 < len(authorization) < HEADER_LIMIT
    status, body = ask(broker, authorization)
    assert (status, body.get("Version")) == (200, 1), body


def test_curl_that_delegates_a_thousand_groups_gets_credentials(
    broker: BrokerProcess, thousand: dict[str, str]
) -> None:
    command = ["curl", "--silent", "--fail-with-body", "--negotiate", "--user", ":", "--delegation", "always"]
    command += ["--header", "X-Zerotrust-Request: 1", "--json", '{"role":"developer"}', f"{broker.url}/v1/credentials"]
    done = subprocess.run(command, env=thousand, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["Version"] == 1


def test_another_user_of_the_directory_is_refused(
    directory: ActiveDirectory, broker: BrokerProcess, tmp_path: Path
) -> None:
    token = directory.client_token(directory.kinit("one", tmp_path / "one"))
    status, body = ask(broker, header(token))
    assert (status, body["code"]) == (403, "access_denied")


def test_the_record_names_the_user_and_the_realm(
    directory: ActiveDirectory, broker: BrokerProcess, tmp_path: Path
) -> None:
    token = directory.client_token(directory.kinit("threehundred", tmp_path / "ccache"))
    assert ask(broker, header(token))[0] == 403
    record = broker.last_record()
    assert record["principal"]["name"] == "threehundred"
    assert record["principal"]["realm"] == directory.name
