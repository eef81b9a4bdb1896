"""One broker in a machine that systemd has booted: how it begins, is watched, is told, is looked at by its doctor, and ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.booted import CONFIG, SECRETS, Host, host
from tests.fakes.machine import SITE_PACKAGES, Machine
from tests.fakes.until import eventually

# Seconds. Each starts brokers, two or three of them: a machine that does much else takes its time.
pytestmark = pytest.mark.timeout(600)

UNIT = "zerotrust-broker"
SOCKET, INSTANCE = "zerotrust-broker.socket", "zerotrust-broker@1.service"
_SSSD = "*/krb5/plugins/authdata/sssd_pac_plugin.so"
# As an administrator writes it, with this machine's names: a secret out of a plain file, one out of an encrypted one.
_CREDENTIALS = f"""
[Service]
LoadCredential=redis.password:{SECRETS}/of_redis
LoadCredentialEncrypted=encryption.key:/etc/zerotrust/credentials/encryption.key
# The unit's thirty seconds are the same thing ten times slower.
WatchdogSec=3
"""
# Python's signal handlers run on the event loop's thread: this one keeps it.
_HANG = """
import signal, time
signal.signal(signal.SIGUSR2, lambda *_: time.sleep(3600))
"""


@pytest.fixture(scope="module")
def installed(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A broker whose secrets are systemd's, and that can be made to hang."""
    with host(debian, tmp_path_factory.mktemp("host")) as booted:
        machine = booted.machine
        machine.write(f"{SITE_PACKAGES}/hang.py", _HANG)
        machine.write(f"{SITE_PACKAGES}/hang.pth", "import hang\n")
        secrets = {name: machine.read(f"{SECRETS}/{name}") for name in ("redis_password", "encryption_key")}
        machine.run("rm", *(f"{SECRETS}/{name}" for name in secrets))
        machine.write(f"{SECRETS}/of_redis", secrets["redis_password"], mode=0o600)
        machine.run("mkdir", "--mode=0700", "/etc/zerotrust/credentials")
        seal = ["systemd-creds", "encrypt", "--with-key=host", "--name=encryption.key", "-"]
        machine.run(*seal, "/etc/zerotrust/credentials/encryption.key", text=secrets["encryption_key"])
        booted.settings.pop("encryption")
        booted.configure(redis={"url": booted.redis.url})
        booted.drop_in(f"{UNIT}.service", _CREDENTIALS)
        yield booted


@pytest.fixture
def running(installed: Host) -> Host:
    """The same, with a broker that runs, whatever the last test left."""
    installed.start(UNIT)
    return installed


def pid(running: Host) -> int:
    return int(running.machine.show(UNIT, "MainPID")["MainPID"])


def status(running: Host) -> str:
    return running.machine.show(UNIT, "StatusText")["StatusText"]


def eventually_status(running: Host, wanted: str) -> str:
    """The status, once this pattern is in it. Who asks /readyz has everything looked at."""

    def is_there() -> re.Match[str] | None:
        running.get("/readyz")
        return re.search(wanted, status(running))

    with running.machine.network():
        eventually(is_there)
    return status(running)


def begun_again(running: Host, before: int) -> bool:
    shown = running.machine.show(UNIT, "MainPID", "SubState")
    return shown["SubState"] == "running" and int(shown["MainPID"]) != before


def serves(running: Host) -> bool:
    with running.machine.network():
        return running.get("/healthz")[0] == 200


def answers(running: Host) -> int:
    """The status that somebody with a ticket gets."""
    with running.machine.network():
        connection = running.connect()
        try:
            return running.ask(connection)[0]
        finally:
            connection.close()


def doctor(machine: Machine, *words: str) -> tuple[int, list[dict[str, str]]]:
    """The exit status and the findings of the server's doctor, typed by root."""
    command = ["/opt/zerotrust/bin/zerotrust-admin", "doctor", "--json", "--config", CONFIG, *words]
    done = machine.run(*command, check=False)
    return done.returncode, json.loads(done.stdout)


def test_it_serves_with_secrets_that_systemd_hands_to_it_alone(running: Host) -> None:
    with running.machine.network():
        connection = running.connect()
        assert running.ask(connection)[0] == 200
        connection.close()
    eventually_status(running, r"^Serving on https://0\.0\.0\.0:8443; [1-9]\d* requests for credentials; all well$")
    given = f"/run/credentials/{UNIT}.service/redis.password"
    assert running.machine.read(given) == running.redis.password
    assert running.machine.run("runuser", "--user", "nobody", "--", "cat", given, check=False).returncode == 1
    assert running.redis.password not in running.machine.run("systemctl", "show", UNIT).stdout


def test_an_sssd_that_does_not_answer_holds_up_nobody(running: Host) -> None:
    machine, (plugin,) = running.machine, Path("/usr/lib").glob(_SSSD)
    machine.copy(plugin, str(plugin))
    machine.write("/etc/systemd/system/pac.socket", "[Socket]\nListenStream=/var/lib/sss/pipes/pac\n")
    # Takes the socket and reads nothing from it.
    machine.write("/etc/systemd/system/pac.service", "[Service]\nExecStart=/bin/sleep infinity\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "pac.socket")
    try:
        machine.run("systemctl", "restart", UNIT)
        assert answers(running) == 200
        # As sssd does when it starts: another socket under the same name.
        machine.run("systemctl", "stop", "pac.socket", "pac.service")
        machine.run("systemctl", "start", "pac.socket")
        assert answers(running) == 200
    finally:
        machine.run("systemctl", "stop", "pac.socket", "pac.service")
        machine.run("rm", "-r", str(plugin.parent), "/var/lib/sss")


def test_what_happens_has_a_number_in_the_journal_that_the_catalog_explains(running: Host) -> None:
    machine = running.machine
    running.redis.freeze()
    try:
        with machine.network():
            connection = running.connect()
            running.ask(connection)
            connection.close()
        assert "degraded since" in eventually_status(running, "replay_guard degraded")
        eventually(lambda: machine.journal("ZEROTRUST_CODE=redis_down"))
    finally:
        running.redis.thaw()
    (entry, *_) = machine.journal("ZEROTRUST_CODE=redis_down")
    assert entry["MESSAGE_ID"] == "360b9bc577534f27aa8ec1b004ac113c"
    assert entry["MESSAGE"].startswith("cache: Redis failed, going on without it")
    assert (entry["PRIORITY"], entry["_SYSTEMD_UNIT"]) == ("4", f"{UNIT}.service")
    explained = machine.run("journalctl", "-x", "--no-pager", f"MESSAGE_ID={entry['MESSAGE_ID']}").stdout
    assert "Redis fails: the broker goes on without it" in explained
    eventually_status(running, "all well$")


def test_a_reload_says_in_the_status_what_came_of_it(running: Host) -> None:
    good = json.dumps(running.settings)
    running.configure(rules="no list")
    running.machine.run("systemctl", "reload", UNIT)
    eventually_status(running, "the configuration on disk cannot be used")
    assert serves(running)
    assert running.machine.journal("ZEROTRUST_CODE=config_refused")
    running.settings = json.loads(good)
    running.configure()
    running.machine.run("systemctl", "reload", UNIT)
    eventually_status(running, "all well$")
    running.until(UNIT, ActiveState="active", SubState="running")


def test_a_loop_that_hangs_is_killed_and_begun_again(running: Host) -> None:
    before = pid(running)
    running.machine.run("kill", "-USR2", str(before))
    eventually(lambda: begun_again(running, before))
    assert any("Watchdog timeout" in entry["MESSAGE"] for entry in running.machine.journal("--unit", UNIT))
    assert serves(running)


def test_a_kill_costs_a_moment_and_no_record(running: Host) -> None:
    before = pid(running)
    running.machine.run("kill", "-KILL", str(before))
    eventually(lambda: begun_again(running, before))
    assert serves(running)
    with running.machine.network():
        running.machine.write("/root/jwks.json", running.get("/.well-known/jwks.json")[1])
    verify = ["/opt/zerotrust/bin/zerotrust-admin", "audit", "verify", "--jwks", "/root/jwks.json"]
    assert "1 instances" in running.machine.run(*verify, "/var/log/zerotrust/audit").stdout


def test_sigterm_under_load_ends_within_ten_seconds_and_in_order(running: Host) -> None:
    with running.machine.network(), running.under_load() as load:
        eventually(lambda: load.done - len(load.failures) > 20)
        running.machine.run("systemctl", "stop", UNIT)
    # Whoever comes later finds nobody; whoever was let in got what was asked for.
    assert {failure for failure in load.failures if "refused" not in failure} == set()
    shown = running.machine.show(
        UNIT, "Result", "ExecMainStatus", "ExecMainExitTimestampMonotonic", "ActiveExitTimestampMonotonic"
    )
    assert (shown["Result"], shown["ExecMainStatus"]) == ("success", "0")
    took = int(shown["ExecMainExitTimestampMonotonic"]) - int(shown["ActiveExitTimestampMonotonic"])
    assert took <= 10_000_000


def test_its_doctor_finds_nothing_bad_looks_as_the_broker_itself_and_sees_a_unit_that_was_changed(
    running: Host,
) -> None:
    machine = running.machine
    status, found = doctor(machine, "--assume")
    assert [one for one in found if one["verdict"] == "bad"] == []
    well = {one["check"]: one["evidence"] for one in found if one["verdict"] == "ok"}
    assert well["account"] == "looks as zerotrust"
    assert any(one["evidence"].startswith(f"{UNIT}.service: active (running)") for one in found)
    # Its AWS keys are in root's EnvironmentFile, read before root was given up; what Redis wants is systemd's credential.
    assert well["AWS credentials"] == "arn:aws:iam::999900001111:user/broker"
    seen = {"door", "exposure", "keytab (KDC)", "Redis", "role chains", "audit log", "keyring", "permissions"}
    assert seen <= set(well)
    assert status == 0
    # Nothing of root's is left where the broker writes.
    owners = machine.run("find", "/var/log/zerotrust", "/var/lib/zerotrust", "-printf", "%u\n").stdout
    assert set(owners.split()) == {"zerotrust"}
    late = f"/etc/systemd/system/{UNIT}.service.d/late.conf"
    machine.write(late, "[Service]\n")
    _, found = doctor(machine, "--only", "unit")
    assert [one["code"] for one in found if one["verdict"] == "warn"] == ["unit_changed"]
    machine.run("rm", late)


def test_a_configuration_that_must_not_start_is_said_and_not_tried_again(running: Host) -> None:
    good = json.dumps(running.settings)
    running.configure(rules="no list")
    assert running.machine.run("systemctl", "restart", UNIT, check=False).returncode != 0
    shown = running.machine.show(UNIT, "ActiveState", "Result", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78", "NRestarts": "0"}
    assert "rules" in running.log()
    running.settings = json.loads(good)
    running.configure()


def test_a_broker_that_was_stopped_is_not_started_by_its_doctor(installed: Host) -> None:
    machine = installed.machine
    machine.run("systemctl", "stop", UNIT)
    machine.run("systemctl", "enable", INSTANCE)
    installed.start(SOCKET)
    status, found = doctor(machine, "--only", "unit,door")
    assert status == 1
    assert [(one["check"], one["code"]) for one in found if one["verdict"] == "bad"] == [
        ("unit", "broker_down"),
        ("door", "broker_down"),
    ]
    assert machine.show(INSTANCE, "ActiveState") == {"ActiveState": "inactive"}
    machine.run("systemctl", "disable", "--now", INSTANCE, SOCKET)
