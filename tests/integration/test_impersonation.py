"""Who comes in somebody else's name, with tickets of a real domain controller, to the broker as a process.

HTTP/localhost asks for a ticket to itself in a user's name (S4U2Self); HTTP/front.localhost goes on to HTTP/localhost with
what it got so (S4U2Proxy), which the directory lets it do. The domain controller also takes names of accounts that are not
quite theirs, and writes those into the tickets.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.active_directory import PASSWORD, SERVICE, ActiveDirectory, Group, User
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.conversation import obtain
from tests.fakes.sts import StrictSts, demo_world

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.fakes.realm import Realm

FRONT = "HTTP/front.localhost"
BY = {SERVICE: [], FRONT: [f"{FRONT}@AD.EXAMPLE.COM"]}
ELSEWHERE = {"EXAMPLE.COM": {"allow_impersonation": True}}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ActiveDirectory]:
    people = {
        "anna": User(),
        "BOB": User(machine=True),  # Anybody may join ten machines to a domain, and call them what he likes.
        "svc-http": User(services=(SERVICE,)),
        "svc-front": User(services=(FRONT,), delegates_to=(SERVICE,)),
    }
    teams = {"team": Group(members=("anna",))}
    with ActiveDirectory.start(tmp_path_factory.mktemp("directory") / "domain", people=people, teams=teams) as running:
        yield running


def a_broker(directory: ActiveDirectory, folder: Path, sts: StrictSts, options: Mapping[str, Any]) -> BrokerProcess:
    settings = configuration(
        folder,
        keytab=directory.http_keytab,
        sts_endpoint=sts.url,
        kerberos={
            "keytabs": [str(directory.http_keytab)],
            "realms": {directory.name: {"domain_sid": directory.domain_sid, **options}, **ELSEWHERE},
        },
        rules=[
            {
                "name": "team",
                "groups": [directory.sids["team"]],
                "principals": [f"bob@{directory.name}", f"BOB@{directory.name}"],
                "roles": ["developer"],
            }
        ],
    )
    return BrokerProcess(folder, settings, env=directory.env)


@pytest.fixture(scope="module")
def sts() -> Iterator[StrictSts]:
    with StrictSts(demo_world()) as running:
        yield running


@pytest.fixture(scope="module")
def broker(
    directory: ActiveDirectory, sts: StrictSts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerProcess]:
    """It takes such tickets of another realm, and not of the directory."""
    with a_broker(directory, tmp_path_factory.mktemp("broker"), sts, {}) as running:
        yield running


@pytest.fixture(scope="module")
def lenient(
    directory: ActiveDirectory, sts: StrictSts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerProcess]:
    """It takes such tickets of the directory."""
    with a_broker(directory, tmp_path_factory.mktemp("lenient"), sts, {"allow_impersonation": True}) as running:
        yield running


@pytest.mark.parametrize("service", BY)
def test_a_service_in_a_users_name_is_refused_and_the_record_alone_says_why_and_who(
    directory: ActiveDirectory, broker: BrokerProcess, tmp_path: Path, service: str
) -> None:
    answer = obtain(broker.url, directory.impersonated_token("anna", tmp_path / "service", by=service), "developer")
    assert (answer.status, answer.body["code"]) == (401, "auth_failed")
    assert not any(word in str(answer.body) for word in ("imperson", "anna", "front"))
    record = broker.last_record()
    assert (record["event"], record["success"], record["reason"]) == ("refused", False, "impersonated")
    assert (record["user"], record["impersonated_by"]) == ("anna@AD.EXAMPLE.COM", BY[service])
    verified = broker.admin("audit", "verify")
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize("service", BY)
def test_where_the_realm_allows_it_the_records_name_the_service(
    directory: ActiveDirectory, lenient: BrokerProcess, tmp_path: Path, service: str
) -> None:
    token = directory.impersonated_token("anna", tmp_path / "service", by=service)
    answer = obtain(lenient.url, token, "developer")
    assert answer.status == 200, answer.body
    records = {record["event"]: record for record in lenient.records() if record["action"] == "get_credentials"}
    assert records["issued"]["user"] == "anna@AD.EXAMPLE.COM"
    assert records["issued"]["impersonated_by"] == BY[service]
    assert records["intent"]["impersonated_by"] in BY.values()


def test_whoever_comes_in_person_has_no_such_mark(
    directory: ActiveDirectory, broker: BrokerProcess, tmp_path: Path
) -> None:
    token = directory.client_token(directory.kinit("anna", tmp_path / "anna"))
    answer = obtain(broker.url, token, "developer")
    assert answer.status == 200, answer.body
    assert "impersonated_by" not in broker.last_record()


@pytest.mark.parametrize("name", ["ANNA", "Anna"])
def test_one_account_has_one_name(directory: ActiveDirectory, broker: BrokerProcess, tmp_path: Path, name: str) -> None:
    # A revocation or a limit of anna's would not have meant ANNA, who is in all her groups.
    token = directory.client_token(directory.kinit(name, tmp_path / "other", password=PASSWORD))
    assert_not_the_account(broker, token, f"{name}@AD.EXAMPLE.COM")
    canonical = directory.kinit(name, tmp_path / "canonical", password=PASSWORD, options=["-C"])
    assert obtain(broker.url, directory.client_token(canonical), "developer").status == 200


@pytest.mark.parametrize("name", ["bob", "BOB"])
def test_a_machine_is_not_the_user_that_it_is_called_like(
    directory: ActiveDirectory, broker: BrokerProcess, tmp_path: Path, name: str
) -> None:
    token = directory.client_token(directory.kinit(name, tmp_path / "machine", password=PASSWORD))
    assert_not_the_account(broker, token, f"{name}@AD.EXAMPLE.COM")


def assert_not_the_account(broker: BrokerProcess, token: bytes, user: str) -> None:
    answer = obtain(broker.url, token, "developer")
    assert (answer.status, answer.body["code"]) == (401, "auth_failed")
    record = broker.last_record()
    assert (record["user"], record["reason"]) == (user, "name_not_of_account")


def test_mits_kdc_lets_no_service_go_on_in_a_users_name(realm: Realm, tmp_path: Path) -> None:
    keytab = realm.keytab(tmp_path / "host.keytab", "host/localhost")
    service = realm.kinit("host/localhost", tmp_path / "host", password="", options=["-k", "-t", str(keytab)])
    asked = ["kvno", "-k", str(keytab), "-U", "alice"]
    to_itself = subprocess.run([*asked, "host/localhost"], env=service, capture_output=True, text=True, check=False)
    assert to_itself.returncode == 0, to_itself.stderr
    onwards = subprocess.run([*asked, "-P", SERVICE], env=service, capture_output=True, text=True, check=False)
    assert "KDC can't fulfill requested option" in onwards.stderr
