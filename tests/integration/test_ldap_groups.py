"""Groups from a real directory: found, nested, ambiguous, gone, slow; asked by a broker that it knows through a real KDC."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from broker.authn.directory import KNOWN_FOR, Directory
from broker.authn.initiator import Initiator
from broker.authn.keytab import AcceptorKeys
from broker.authn.layout import ByDistinguishedName, BySid, Layout
from broker.authn.ldap import Connection
from broker.core.errors import DirectoryUnavailable
from broker.core.principal import Principal
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import ServerCertificate, server_certificate
from tests.fakes.conversation import ask, obtain
from tests.fakes.ldap import (
    BASE,
    SERVICE,
    LdapServer,
    group,
    person,
    posix_group,
    windows_group,
    windows_person,
)
from tests.fakes.realm import Realm
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

DOMAIN = "S-1-5-21-1-2-3"
PEOPLE = {"alice": "wonderland", "bob": "builder", "carol": "singer", "dora": "explorer"}
# Broken connections, deadlines and breakers: two seconds and what a busy machine adds.
AT_MOST = 2.6
# No request waits for the loop as long as a directory that stands still is waited for (two seconds); a busy machine adds its own.
HICCUP = 1.0

DEEP = "".join(group(f"deep{level}", f"deep{level - 1}") for level in range(1, 12))
ENTRIES = (
    person("alice", "alice@EXAMPLE.COM")
    + person("alice-admin", "alice/admin@EXAMPLE.COM", uid="aliceadmin")
    + person("bob", "bob@EXAMPLE.COM")
    + person("carol", "carol@EXAMPLE.COM")
    + person("dora", "dora@EXAMPLE.COM")
    + person("twin1", "twin@EXAMPLE.COM", uid="twin")
    + person("twin2", "twin@EXAMPLE.COM", uid="twin")
    + person("deep0", "deep@EXAMPLE.COM")
    + group("aws-dev", "alice")
    + group("engineers", "aws-dev")
    + group("staff", "engineers", "loop", "dora")
    + group("loop", "staff")
    + group("admins", "alice-admin", "bob")
    + group("Mixed", "alice")
    + group("copied", "alice")
    + f"dn: ou=elsewhere,{BASE}\nobjectClass: organizationalUnit\nou: elsewhere\n\n"
    + group("COPIED", "bob", below=f"ou=elsewhere,{BASE}")
    + posix_group("unix", 2000, "alice", "bob")
    + f"dn: cn=unique,{BASE}\nobjectClass: groupOfUniqueNames\ncn: unique\nuniqueMember: cn=bob,{BASE}\n\n"
    + DEEP
    + windows_person("wendy", f"{DOMAIN}-513", f"{DOMAIN}-1105", "S-1-5-32-545", "S-1-5-21-9-9-9-1105")
    + windows_group("aws-win", f"{DOMAIN}-1105")
    + windows_group("foreign", "S-1-5-21-9-9-9-1105")
)


class HandClock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def boottime(self) -> float:
        return self.seconds


@dataclass
class Scene:
    """A realm, its directory, and the broker's keys."""

    realm: Realm
    server: LdapServer
    keys: AcceptorKeys
    certificate: ServerCertificate
    keytab: Path

    @asynccontextmanager
    async def directory(
        self, *names: str, layout: Layout | None = None, tls: bool = False, clock: HandClock | None = None
    ) -> AsyncIterator[Directory]:
        trusted = ssl.create_default_context(cafile=str(self.certificate.certificate)) if tls else None
        url = self.server.tls_url if tls else self.server.url
        directory = Directory(
            realm="EXAMPLE.COM",
            layout=layout or ByDistinguishedName(BASE),
            wanted=frozenset(names),
            connect=partial(
                Connection.open, url, tls=trusted, initiator=Initiator(keys=self.keys, realm="EXAMPLE.COM")
            ),
            clock=clock or HandClock(),
        )
        try:
            yield directory
        finally:
            directory.close()


@pytest.fixture(scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("directory")
    certificate = server_certificate(folder / "tls", "ecdsa-sha256")
    services = ("HTTP/localhost", SERVICE)
    with Realm.start(folder / "realm", principals=PEOPLE, services=services) as realm, realm.entered():
        keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")
        keys = AcceptorKeys([keytab], realms=frozenset({"EXAMPLE.COM"}), hosts=None)
        with LdapServer.start(folder / "ldap", realm=realm, entries=ENTRIES, certificate=certificate) as server:
            yield Scene(realm, server, keys, certificate, keytab)


@pytest.fixture
def scene(_scene: Scene) -> Iterator[Scene]:
    yield _scene
    _scene.server.renew()


async def names_of(directory: Directory, who: str, of_ticket: frozenset[str] = frozenset()) -> set[str]:
    """The names among somebody's groups, without the realm."""
    found = await directory.groups(Principal.parse(who), of_ticket)
    return {name.removeprefix("EXAMPLE.COM\\") for name in found if name.startswith("EXAMPLE.COM\\")}


async def refusal_of(asked: Any) -> DirectoryUnavailable:
    with pytest.raises(DirectoryUnavailable) as refused:
        await asked
    return refused.value


@asynccontextmanager
async def never_held_up() -> AsyncIterator[None]:
    """Fails if the event loop stood still meanwhile."""
    loop, gaps = asyncio.get_running_loop(), [0.0]

    async def tick() -> None:
        while True:
            before = loop.time()
            await asyncio.sleep(0.005)
            gaps.append(loop.time() - before)

    ticking = asyncio.ensure_future(tick())
    try:
        yield
    finally:
        ticking.cancel()
    assert max(gaps) < HICCUP


# --- who is in what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["ldap", "ldaps"])
async def test_direct_and_nested_groups_of_every_class_are_found_and_loops_end(scene, tls):
    async with scene.directory(
        "aws-dev", "engineers", "staff", "admins", "unix", "unique", "nix", tls=tls
    ) as directory:
        assert await names_of(directory, "alice@EXAMPLE.COM") == {"aws-dev", "engineers", "staff", "unix"}
        assert await names_of(directory, "bob@EXAMPLE.COM") == {"admins", "unix", "unique"}
        assert await names_of(directory, "carol@EXAMPLE.COM") == set()
        assert await names_of(directory, "nobody@EXAMPLE.COM") == set()


@pytest.mark.parametrize("tls", [False, True], ids=["ldap", "ldaps"])
async def test_the_broker_shows_itself_by_kerberos_and_nothing_is_in_the_clear(scene, tls):
    before = len(scene.server.log())
    async with scene.directory("aws-dev", tls=tls) as directory:
        await names_of(directory, "alice@EXAMPLE.COM")
    log = scene.server.log()[before:]
    strength = "sasl_ssf=0" if tls else "sasl_ssf=256"
    assert 'dn="uid=http/localhost,cn=example.com,cn=gssapi,cn=auth" mech=GSSAPI' in log
    assert ("TLS established" in log) is tls
    assert strength.removeprefix("sasl_") in log


async def test_another_instance_of_somebody_is_not_somebody(scene):
    async with scene.directory("aws-dev", "admins") as directory:
        assert await names_of(directory, "alice/admin@EXAMPLE.COM") == {"admins"}
    async with scene.directory("aws-dev", "admins", layout=ByDistinguishedName(BASE, "uid")) as directory:
        assert await names_of(directory, "alice@EXAMPLE.COM") == {"aws-dev"}
        assert await names_of(directory, "alice/admin@EXAMPLE.COM") == set()


@pytest.mark.parametrize("attribute", ["krbPrincipalName", "uid"])
@pytest.mark.parametrize(
    "name", ["ALICE", "Alice", "alice ", "*", "al*", "alice)(uid=*", "\\2a", "a\x00", "älice", "("]
)
async def test_only_exactly_the_name_is_somebody_whatever_characters_it_is_made_of(scene, attribute, name):
    async with scene.directory("aws-dev", layout=ByDistinguishedName(BASE, attribute)) as directory:
        assert await directory.groups(Principal((name,), "EXAMPLE.COM"), frozenset()) == frozenset()
        assert await names_of(directory, "alice@EXAMPLE.COM") == {"aws-dev"}


async def test_somebody_with_two_entries_is_nobody_we_can_know_and_holds_up_nobody_else(scene):
    async with scene.directory("aws-dev") as directory:
        refused = await refusal_of(names_of(directory, "twin@EXAMPLE.COM"))
        assert refused.reason == "directory_ambiguous"
        assert await names_of(directory, "alice@EXAMPLE.COM") == {"aws-dev"}


async def test_a_name_that_two_groups_share_in_whatever_case_is_no_ones(scene):
    async with scene.directory("copied") as directory:
        assert (await refusal_of(names_of(directory, "alice@EXAMPLE.COM"))).reason == "directory_ambiguous"


async def test_a_group_is_meant_only_as_it_is_written(scene):
    async with scene.directory("mixed", "AWS-DEV", "aws*", "*") as directory:
        assert await names_of(directory, "alice@EXAMPLE.COM") == set()
    async with scene.directory("Mixed") as directory:
        assert await names_of(directory, "alice@EXAMPLE.COM") == {"Mixed"}


async def test_groups_nested_beyond_the_limit_are_an_error_and_not_a_shorter_list(scene):
    async with scene.directory("deep11") as directory:
        assert (await refusal_of(names_of(directory, "deep@EXAMPLE.COM"))).reason == "directory_limit"


async def test_active_directory_names_groups_of_the_ticket_and_tells_them_where_the_ticket_does_not(scene):
    layout = BySid(BASE, DOMAIN)
    async with scene.directory("aws-win", "foreign", layout=layout) as directory:
        of_ticket = frozenset({f"{DOMAIN}-513", f"{DOMAIN}-1105"})
        known = await directory.groups(Principal.parse("wendy@EXAMPLE.COM"), of_ticket)
        assert known == of_ticket | {"EXAMPLE.COM\\aws-win"}
        assert await directory.groups(Principal.parse("wendy@EXAMPLE.COM"), frozenset()) == known
        assert await names_of(directory, "alice@EXAMPLE.COM", frozenset({f"{DOMAIN}-513"})) == set()


# --- how often it is asked -------------------------------------------------------------------------------------------


async def test_a_herd_asks_once_and_answers_are_forgotten_after_their_time(scene):
    clock = HandClock()
    async with scene.directory("aws-dev", clock=clock) as directory:
        before = scene.server.searches()
        found = await asyncio.gather(*(names_of(directory, "alice@EXAMPLE.COM") for _ in range(100)))
        assert found == [{"aws-dev"}] * 100
        once = scene.server.searches() - before
        assert once <= 8
        scene.server.change(f"dn: cn=aws-dev,{BASE}\nchangetype: modify\nreplace: member\nmember: cn=bob,{BASE}\n")
        clock.seconds += KNOWN_FOR.total_seconds() - 0.1
        assert await names_of(directory, "alice@EXAMPLE.COM") == {"aws-dev"}
        assert scene.server.searches() - before == once
        clock.seconds += 0.2
        assert await names_of(directory, "alice@EXAMPLE.COM") == set()
    scene.server.change(f"dn: cn=aws-dev,{BASE}\nchangetype: modify\nreplace: member\nmember: cn=alice,{BASE}\n")


# --- a directory that is not well ------------------------------------------------------------------------------------


async def test_a_server_that_closed_the_connection_meanwhile_is_asked_again_without_an_error(scene):
    async with scene.directory("aws-dev") as directory:
        await names_of(directory, "alice@EXAMPLE.COM")
        scene.server.restart()
        assert await names_of(directory, "bob@EXAMPLE.COM") == set()


async def test_a_dead_directory_is_told_at_once_and_found_again_when_it_is_back(scene):
    clock = HandClock()
    async with scene.directory("aws-dev", clock=clock) as directory:
        scene.server.stop()
        assert (await refusal_of(names_of(directory, "alice@EXAMPLE.COM"))).reason == "directory_unreachable"
        assert await directory.ping() == "directory_unreachable"
        scene.server.restart()
        assert (await refusal_of(names_of(directory, "alice@EXAMPLE.COM"))).reason == "directory_unreachable"
        clock.seconds += 1.1
        assert await names_of(directory, "alice@EXAMPLE.COM") == {"aws-dev"}
        assert await directory.ping() is None


@pytest.mark.parametrize(("tls", "when"), [(False, "after"), (True, "before")])
async def test_a_directory_that_stands_still_costs_one_its_deadline_others_nothing_and_never_the_loop(scene, tls, when):
    async with scene.directory("aws-dev", tls=tls) as directory, never_held_up():
        if when == "after":
            await names_of(directory, "bob@EXAMPLE.COM")
        scene.server.freeze()
        started = time.monotonic()
        refused = await asyncio.gather(
            *(refusal_of(names_of(directory, f"{n}@EXAMPLE.COM")) for n in PEOPLE if n != "bob")
        )
        assert {error.reason for error in refused} == {"directory_timeout"}
        assert time.monotonic() - started < AT_MOST
        started = time.monotonic()
        assert (await refusal_of(names_of(directory, "late@EXAMPLE.COM"))).reason == "directory_timeout"
        assert time.monotonic() - started < HICCUP


async def test_a_kdc_that_stands_still_costs_one_its_deadline_and_never_the_loop(tmp_path, scene):
    with Realm.start(tmp_path / "slow", name="SLOW.EXAMPLE", services=("HTTP/localhost",)) as slow, slow.entered():
        keytab = slow.keytab(tmp_path / "slow.keytab", "HTTP/localhost")
        keys = AcceptorKeys([keytab], realms=frozenset({"SLOW.EXAMPLE"}), hosts=None)
        connect = partial(
            Connection.open, scene.server.url, tls=None, initiator=Initiator(keys=keys, realm="SLOW.EXAMPLE")
        )
        clock, principal = HandClock(), Principal.parse("alice@SLOW.EXAMPLE")
        directory = Directory(
            realm="SLOW.EXAMPLE",
            layout=ByDistinguishedName(BASE),
            wanted=frozenset({"x"}),
            connect=connect,
            clock=clock,
        )
        slow._kdc.send_signal(signal.SIGSTOP)
        try:
            async with never_held_up():
                started = time.monotonic()
                assert (await refusal_of(directory.groups(principal, frozenset()))).reason == "directory_timeout"
                assert time.monotonic() - started < AT_MOST
                clock.seconds += 1.1
                assert (await refusal_of(directory.groups(principal, frozenset()))).reason == "directory_kdc"
        finally:
            slow._kdc.send_signal(signal.SIGCONT)


async def test_a_base_that_is_not_there_is_told_apart_from_somebody_who_is_not(scene):
    async with scene.directory("aws-dev", layout=ByDistinguishedName("dc=example,dc=org")) as directory:
        assert (await refusal_of(names_of(directory, "alice@EXAMPLE.COM"))).reason == "directory_base_unknown"
        assert await directory.ping() == "directory_base_unknown"


async def test_a_directory_with_a_certificate_of_nobody_we_trust_is_not_asked(scene):
    connect = partial(
        Connection.open,
        scene.server.tls_url,
        tls=ssl.create_default_context(),
        initiator=Initiator(keys=scene.keys, realm="EXAMPLE.COM"),
    )
    assert (await refusal_of(connect())).reason == "directory_tls"


async def test_a_directory_that_is_not_in_the_realm_is_not_believed(scene):
    stranger = Initiator(keys=scene.keys, realm="OTHER.EXAMPLE")
    assert (await refusal_of(Connection.open(scene.server.url, tls=None, initiator=stranger))).reason == (
        "directory_kerberos"
    )


# --- the broker as a process -----------------------------------------------------------------------------------------


@dataclass
class Service:
    scene: Scene
    broker: BrokerProcess
    folder: Path

    def obtain(self, user: str, role: str = "developer") -> Any:
        login = self.scene.realm.kinit(user, self.folder / f"ccache-{user}")
        return obtain(self.broker.url, self.scene.realm.client_token(login), role)

    def ready(self) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.broker.url).port, timeout=10)
        try:
            connection.request("GET", "/readyz", headers={"Host": urlsplit(self.broker.url).netloc})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def _service(_scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("broker")
    with StrictSts(demo_world()) as sts:
        settings = configuration(folder, keytab=_scene.keytab, sts_endpoint=sts.url)
        settings["kerberos"]["realms"] = {"EXAMPLE.COM": {"ldap": {"url": _scene.server.url, "base": BASE}}}
        settings["rules"] = [
            {"name": "by-group", "groups": ["EXAMPLE.COM\\staff"], "roles": ["developer"]},
            {"name": "by-name", "principals": ["bob@EXAMPLE.COM"], "roles": ["developer"]},
        ]
        with BrokerProcess(folder, settings, env=_scene.realm.env) as broker:
            yield Service(_scene, broker, folder)


@pytest.fixture
def service(_service: Service, scene: Scene) -> Service:
    """With a directory that runs."""
    return _service


def eventually(outcome: Callable[[], Any], wanted: Any, *, within: timedelta) -> float:
    """Seconds until the outcome is what is wanted."""
    started = time.monotonic()
    while (found := outcome()) != wanted:
        assert time.monotonic() - started < within.total_seconds(), found
        time.sleep(0.1)
    return time.monotonic() - started


def test_a_rule_that_names_a_group_lets_its_members_in_until_shortly_after_they_leave_it(service):
    assert service.obtain("alice").status == 200
    assert service.obtain("carol").status == 403
    members = f"dn: cn=engineers,{BASE}\nchangetype: modify\nreplace: member\nmember: cn="
    service.scene.server.change(f"{members}carol,{BASE}\n")
    try:
        eventually(lambda: service.obtain("alice").status, 403, within=KNOWN_FOR + timedelta(seconds=2))
        eventually(lambda: service.obtain("carol").status, 200, within=KNOWN_FOR + timedelta(seconds=2))
    finally:
        service.scene.server.change(f"{members}aws-dev,{BASE}\n")
    records = [record for record in service.broker.records() if record["user"] == "alice@EXAMPLE.COM"]
    assert {record["event"] for record in records if record["success"]} >= {"issued"}
    assert {record["reason"] for record in records if not record["success"]} == {"no_rule"}


def test_without_the_directory_who_is_named_goes_on_and_who_needs_a_group_is_told_why_not(service):
    assert service.ready()["dependencies"]["directory_of_EXAMPLE.COM"] == {"status": "ok"}
    service.scene.server.stop()
    assert service.obtain("bob").status == 200
    refused = service.obtain("dora")
    assert (refused.status, refused.body["code"]) == (503, "directory_unavailable")
    assert "retry-after" in refused.headers
    # A role that does not exist answers alike: who asks learns nothing of it.
    unknown = service.obtain("dora", "no-such-role")
    assert (unknown.status, unknown.body["code"]) == (503, "directory_unavailable")
    assert service.ready()["status"] == "degraded"
    assert service.broker.last_record()["reason"] == "directory_unreachable"
    service.scene.server.restart()
    eventually(lambda: service.obtain("dora").status, 200, within=timedelta(seconds=5))


def test_the_directory_is_not_asked_for_anybody_without_a_ticket(service):
    before = service.scene.server.searches()
    assert ask(service.broker.url, None).status == 401
    assert ask(service.broker.url, b"no ticket at all").status == 401
    assert service.scene.server.searches() == before
