"""``zerotrust-admin secrets`` at real brokers: two instances of one host, rules reloaded, revoked users, a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from broker import wire_operators, wire_secrets
from tests.fakes.broker import NO_HOME, PROGRAMS, BrokerProcess, configuration
from tests.fakes.disk import Disk
from tests.fakes.operator import Operator, last
from tests.fakes.realm import Realm
from tests.fakes.until import eventually

NO_STS = "http://127.0.0.1:1"
ALICE, ROOT = "alice@EXAMPLE.COM", "root/admin@EXAMPLE.COM"
EVERYTHING = ["list", "read", "write", "delete", "destroy"]
RULE = {"name": "team-a", "paths": ["team-a/**"], "principals": [ALICE], "actions": EVERYTHING}
PEM = "-----BEGIN X-----\nAAAA\n-----END X-----\n"


@pytest.fixture(scope="module")
def fleet(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerProcess, BrokerProcess]]:
    """Two instances of one host: one key, one folder of state."""
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "state").mkdir(mode=0o700)

    def instance(name: str) -> BrokerProcess:
        inner = folder / name
        inner.mkdir()
        settings = configuration(
            inner,
            keytab=realm.keytab(inner / "http.keytab", "HTTP/localhost"),
            sts_endpoint=NO_STS,
            secrets={"rules": [RULE]},
            state={"directory": str(folder / "state")},
            admin={"principals": [ROOT]},
        )
        settings["kerberos"]["replay_guard"] = "local"
        key = folder / "one" / "encryption_key"
        settings["encryption"] = {"key_file": str(key)}
        return BrokerProcess(inner, settings, env=realm.env)

    with instance("one") as one, instance("two") as two:
        yield one, two


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "alice", tmp_path_factory.mktemp("alice") / "ccache")


@pytest.fixture(scope="module")
def root(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "root/admin", tmp_path_factory.mktemp("root") / "ccache")


def secrets(
    who: Operator, broker: BrokerProcess, *words: str, said: bytes = b"", status: int = 0
) -> subprocess.CompletedProcess[bytes]:
    outer = {"PATH": os.environ["PATH"], "HOME": NO_HOME, "ZEROTRUST_CONFIG": "/nonexistent"}
    command = [str(PROGRAMS / "zerotrust-admin"), "secrets", *words, "--url", broker.url]
    done = subprocess.run(command, env={**outer, **who.env}, input=said, capture_output=True, check=False, timeout=60)
    assert done.returncode == status, done.stderr
    return done


# ---- the command ----


def test_a_secret_goes_in_by_every_way_but_the_command_line_and_comes_out_alone(
    fleet: tuple[BrokerProcess, BrokerProcess], alice: Operator, tmp_path: Path
) -> None:
    one, two = fleet
    file = tmp_path / "key.pem"
    file.write_text(PEM)
    put = secrets(alice, one, "put", "team-a/db", "user=-", f"key=@{file}", said=b"app\n")
    assert put.stdout == b"team-a/db is at version 1\n"
    assert secrets(alice, two, "get", "team-a/db", "--field", "user").stdout == b"app", (
        "the end of its one line is gone"
    )
    assert secrets(alice, two, "get", "team-a/db", "--field", "key").stdout.decode() == PEM, "of several it stays"
    found = json.loads(secrets(alice, two, "get", "team-a/db", "--json").stdout)
    assert (found["fields"], found["version"]) == ({"user": "app", "key": PEM}, "1")
    several = secrets(alice, one, "get", "team-a/db", status=2)
    assert b"key, user" in several.stderr
    assert several.stdout == b""
    secrets(alice, one, "put", "team-a/plain", said=b"only\n")
    assert secrets(alice, one, "get", "team-a/plain").stdout == b"only"
    assert secrets(alice, one, "list", "team-a").stdout.decode().split() == ["team-a/db", "team-a/plain"]
    assert secrets(alice, one, "due").stdout == b""
    secrets(alice, one, "put", "team-a/made", "--generate", "hex:20", "--cas", "0")
    assert len(bytes.fromhex(secrets(alice, two, "get", "team-a/made").stdout.decode())) == 20


def test_a_value_on_the_command_line_is_refused_before_anything_is_sent(
    fleet: tuple[BrokerProcess, BrokerProcess], alice: Operator
) -> None:
    before = len(fleet[0].records())
    refused = secrets(alice, fleet[0], "put", "team-a/argv", "password=hunter2", status=2)
    assert b"write password=- or password=@FILE" in refused.stderr
    assert b"hunter2" not in refused.stderr
    assert len(fleet[0].records()) == before


def test_versions_metadata_and_what_becomes_of_them(
    fleet: tuple[BrokerProcess, BrokerProcess], alice: Operator
) -> None:
    one, two = fleet
    for value in ("first", "second"):
        body = wire_secrets.writing(fields={"value": value}, generate={})
        assert alice.ask(one.url, "PUT", f"{wire_secrets.PREFIX}team-a/life", body).status == 200
    secrets(alice, one, "delete", "team-a/life")
    assert b"[secret_not_found]" in secrets(alice, two, "get", "team-a/life", status=1).stderr
    assert secrets(alice, two, "get", "team-a/life", "--version", "1").stdout == b"first"
    secrets(alice, two, "undelete", "team-a/life")
    secrets(alice, one, "destroy", "team-a/life", "--version", "2")
    shown = secrets(alice, one, "versions", "team-a/life").stdout.decode().splitlines()
    assert ["destroyed by alice@EXAMPLE.COM" in line for line in shown] == [False, True]
    told = secrets(
        alice, one, "metadata", "team-a/life", "--contact", "dba@example.com", "--label", "tier=1"
    ).stdout.decode()
    assert "contact: dba@example.com" in told
    assert "labels: tier=1" in told
    secrets(alice, one, "archive", "team-a/life")
    secrets(alice, two, "unarchive", "team-a/life")
    secrets(alice, one, "purge", "team-a/life")
    assert alice.ask(two.url, "GET", f"{wire_secrets.PREFIX}team-a/life/versions").status == 404


def test_of_two_instances_that_check_and_set_at_once_one_wins(
    fleet: tuple[BrokerProcess, BrokerProcess], alice: Operator
) -> None:
    def write(number: int) -> int:
        body = wire_secrets.writing(fields={"value": f"by {number}"}, generate={}, cas=0)
        return alice.ask(fleet[number % 2].url, "PUT", f"{wire_secrets.PREFIX}team-a/race", body).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(write, range(8)))
    assert sorted(statuses) == [200] + [409] * 7
    winner = statuses.index(200)
    for broker in fleet:
        assert secrets(alice, broker, "get", "team-a/race").stdout == f"by {winner}".encode()
    assert (
        b"[version_conflict]"
        in secrets(alice, fleet[0], "put", "team-a/race", "--cas", "0", said=b"x", status=1).stderr
    )


def test_a_prompt_is_asked_twice_and_shows_nothing(fleet: tuple[BrokerProcess, BrokerProcess], alice: Operator) -> None:
    ours, theirs = os.openpty()
    command = [
        str(PROGRAMS / "zerotrust-admin"),
        "secrets",
        "put",
        "team-a/prompted",
        "password",
        "--url",
        fleet[0].url,
    ]
    environ = {"PATH": os.environ["PATH"], "HOME": NO_HOME, "ZEROTRUST_CONFIG": "/nonexistent", **alice.env}
    with subprocess.Popen(command, env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as typing:
        shown = b""
        for prompt in (b"password:", b"confirmation:"):
            while not shown.rstrip().endswith(prompt):
                shown += os.read(ours, 1024)
            time.sleep(0.1)  # Python's getpass() flushes what was typed before it asked.
            os.write(ours, b"typed-canary\n")
        assert typing.wait(60) == 0
        shown += os.read(ours, 1024)
    os.close(ours)
    os.close(theirs)
    assert b"canary" not in shown
    assert b"team-a/prompted is at version 1" in shown
    assert alice.ask(fleet[0].url, "GET", f"{wire_secrets.PREFIX}team-a/prompted").json["fields"] == {
        "password": "typed-canary"
    }


# ---- revoked, reloaded, no record ----


def test_a_revoked_user_reads_nothing_at_either_instance(
    fleet: tuple[BrokerProcess, BrokerProcess], alice: Operator, root: Operator
) -> None:
    one, two = fleet
    secrets(alice, one, "put", "team-a/revoked", said=b"canary-of-the-revoked")
    body = b'{"what":"credentials","user":"alice@EXAMPLE.COM"}'
    assert root.ask(one.url, "POST", wire_operators.REVOCATIONS_PATH, body).status == 200
    try:
        eventually(lambda: alice.ask(two.url, "GET", f"{wire_secrets.PREFIX}team-a/revoked").status == 403)
        for broker in fleet:
            answer = alice.ask(broker.url, "GET", f"{wire_secrets.PREFIX}team-a/revoked")
            assert (answer.status, answer.code, last(broker)["reason"]) == (403, "revoked", "revoked")
            assert (last(broker)["event"], last(broker)["user"]) == ("secret_access", ALICE)
            assert b"canary" not in answer.body
    finally:
        assert root.ask(one.url, "POST", wire_operators.RESTORE_PATH, b'{"user":"alice@EXAMPLE.COM"}').status == 200
    eventually(lambda: alice.ask(two.url, "GET", f"{wire_secrets.PREFIX}team-a/revoked").status == 200)


def test_rules_are_taken_over_without_a_restart_and_the_record_names_them(
    fleet: tuple[BrokerProcess, BrokerProcess], alice: Operator
) -> None:
    one, _ = fleet
    path = f"{wire_secrets.PREFIX}team-b/db"
    assert alice.ask(one.url, "GET", path).status == 403

    def reloaded(*rules: dict[str, Any]) -> dict[str, Any]:
        before = len(one.records())
        one.settings["secrets"] = {"rules": list(rules)}
        one.write_configuration()
        one.reload()
        eventually(lambda: any(record["event"] == "config_reloaded" for record in one.records()[before:]))
        return next(record for record in reversed(one.records()) if record["event"] == "config_reloaded")

    record = reloaded(RULE, RULE | {"name": "team-b", "paths": ["team-b/*"]})
    assert (record["secret_rules_added"], "needs_restart" in record) == (["team-b"], False)
    assert alice.ask(one.url, "GET", path).status == 404
    assert reloaded(RULE)["secret_rules_removed"] == ["team-b"]
    assert alice.ask(one.url, "GET", path).status == 403


def test_without_a_record_no_value_leaves_and_none_is_written(realm: Realm, alice: Operator, tmp_path: Path) -> None:
    with Disk(tmp_path) as disk:
        (disk.path / "audit").mkdir(mode=0o700)
        inner = tmp_path / "broker"
        (inner / "state").mkdir(mode=0o700, parents=True)
        settings = configuration(
            inner,
            keytab=realm.keytab(inner / "http.keytab", "HTTP/localhost"),
            sts_endpoint=NO_STS,
            secrets={"rules": [RULE]},
            state={"directory": str(inner / "state")},
            audit={"directory": str(disk.path / "audit")},
        )
        target = f"{wire_secrets.PREFIX}team-a/db"
        with BrokerProcess(inner, settings, env=realm.env) as broker:
            body = wire_secrets.writing(fields={"value": "canary-1"}, generate={})
            assert alice.ask(broker.url, "PUT", target, body).status == 200
            disk.fill()
            # What is left of the file's last block takes a record or two.
            eventually(lambda: alice.ask(broker.url, "GET", target).status != 200)
            read = alice.ask(broker.url, "GET", target)
            assert (read.status, read.code) == (503, "audit_unavailable")
            assert b"canary" not in read.body
            body = wire_secrets.writing(fields={"value": "canary-2"}, generate={})
            assert alice.ask(broker.url, "PUT", target, body).status == 503
            disk.empty()
            eventually(lambda: alice.ask(broker.url, "GET", target).status == 200)
            assert alice.ask(broker.url, "GET", target).json["fields"] == {"value": "canary-1"}
