"""The packages for Debian, on a Debian without a network: installed, serving, removed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from release.python import client_modules
from tests.fakes import booted
from tests.fakes.booted import Host
from tests.fakes.dist import DIST, made
from tests.fakes.machine import Machine
from tests.fakes.sts import demo

BROKER, CLIENT = "zerotrust-broker_*_*.deb", "zerotrust_*_all.deb"
EXTRAS = ("aiosmtplib", "azure.identity", "azure.keyvault.keys", "opentelemetry.sdk", "pkcs11", "reportlab")
SITE = "/opt/zerotrust/lib/python3.11/site-packages"


@pytest.fixture
def host(debian: Path, tmp_path: Path) -> Iterator[Host]:
    with booted.bare_host(debian, tmp_path, shown={"/dist": DIST}) as host:
        yield host


def install(host: Host, *patterns: str) -> str:
    return host.machine.run(
        "dpkg", "--force-unsafe-io", "--install", *(f"/dist/{made(pattern).name}" for pattern in patterns)
    ).stderr


def ours(host: Host) -> str:
    """What systemd knows of us, enabled or running, and who runs as the broker's account."""
    units = host.machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "zerotrust*").stdout
    files = host.machine.run("systemctl", "list-unit-files", "--no-legend", "zerotrust*", check=False).stdout
    links = host.machine.run("find", "/etc/systemd", "-name", "zerotrust*").stdout
    return units + files + links + host.machine.run("pgrep", "-a", "-u", "zerotrust", check=False).stdout


@pytest.mark.timeout(600)
def test_a_package_starts_nothing_serves_when_it_is_configured_and_leaves_no_service_behind(host: Host) -> None:
    machine = host.machine
    install(host, BROKER, CLIENT)
    # Nothing runs, nothing is set to run, and the sample says so itself.
    assert machine.run("systemctl", "list-units", "--plain", "--no-legend", "zerotrust*").stdout == ""
    assert (
        "enabled" not in machine.run("systemctl", "list-unit-files", "--no-legend", "zerotrust*").stdout.split()[1::3]
    )
    assert machine.run("/usr/sbin/zerotrust-broker", "check-config", check=False).returncode == 78
    assert machine.run("stat", "--format=%a %U:%G", booted.CONFIG).stdout == "640 root:zerotrust\n"
    assert machine.run("stat", "--format=%a %U:%G", "/etc/zerotrust").stdout == "751 root:zerotrust\n"
    assert "zerotrust" in machine.run("journalctl", "--list-catalog").stdout.lower()
    assert machine.run("systemctl", "start", "zerotrust-broker", check=False).returncode != 0
    machine.run("systemctl", "stop", "zerotrust-broker")
    needs_nothing_else(machine)

    host.set_up()
    machine.run("systemctl", "reset-failed")
    machine.run("systemctl", "enable", "zerotrust-broker", "zerotrust-probe.timer", "zerotrust-agent.socket")
    host.start("zerotrust-broker", "zerotrust-probe.timer", "zerotrust-agent.socket")
    given = as_alice(host, "credential-process", "--role", "developer")
    record = next(record for record in host.records() if record["event"] == "issued")
    assert json.loads(given)["AccessKeyId"] == record["access_key_id"]
    assert record["role"] == "developer"
    assert demo.DEVELOPER_ROLE in {call["role_arn"] for call in host.sts.calls()}

    machine.run("dpkg", "--remove", "zerotrust-broker", "zerotrust")
    assert ours(host) == ""
    assert "zerotrust" not in machine.run("journalctl", "--list-catalog").stdout.lower()
    assert machine.run("find", "/opt/zerotrust", "/usr/lib/zerotrust", check=False).stdout == ""
    assert json.loads(machine.read(booted.CONFIG)) == host.settings

    said = machine.run("dpkg", "--purge", "zerotrust-broker", "zerotrust").stderr
    assert "/var/log/zerotrust is kept" in said
    assert record in host.records()
    assert machine.run("test", "-e", booted.CONFIG, check=False).returncode != 0
    assert machine.run("test", "-e", "/etc/zerotrust/keytabs/http.keytab").returncode == 0


def needs_nothing_else(machine: Machine) -> None:
    """A Debian with what the package depends on is enough for all of it."""
    libraries = machine.run("sh", "-c", f"find {SITE} -name '*.so*' -exec ldd {{}} +").stdout
    assert "not found" not in libraries
    machine.run("/opt/zerotrust/bin/python3", "-c", f"import {', '.join(EXTRAS)}")
    assert machine.run("find", "/opt/zerotrust/bin", "-name", "pip*").stdout == ""
    # The user's side in the system's Python, isolated: all but the SDK's ways to boto3 and to the broker's configuration.
    modules = [name for name in client_modules(made("*.whl")) if name.endswith(".py") and "/sdk/" not in name]
    names = " ".join(name.removesuffix(".py").replace("/", ".") for name in modules if "__" not in name)
    script = f"import importlib as i, sys; sys.path.append('/usr/lib/zerotrust'); list(map(i.import_module, '{names}'.split()))"
    machine.run("/usr/bin/python3", "-IS", "-c", script)
    assert machine.run("/usr/bin/python3", "-I", "/dist/zerotrust.pyz", "version").stdout.startswith("zerotrust ")
    # The sample, with its marks taken away, lacks only the files that it names.
    sample = machine.read(booted.CONFIG)
    machine.write("/root/sample.yaml", re.sub(r"(?m)^#(?! \S)", "", sample[sample.index("#server:") :]), mode=0o600)
    check = ["/usr/sbin/zerotrust-broker", "check-config", "--config", "/root/sample.yaml"]
    told = machine.run(*check, check=False).stderr.splitlines()
    assert [line for line in told if not re.search("does not exist|No such file|keytab there", line)] == []
    assert len(told) > 3


def as_alice(host: Host, *words: str) -> str:
    """What the installed command says to alice, who has a ticket."""
    machine = host.machine
    machine.run("useradd", "alice")
    machine.write("/etc/hosts", "127.0.0.1 localhost\n")
    machine.copy(Path(host.alice["KRB5CCNAME"].removeprefix("FILE:")), "/tmp/alice.cc")  # noqa: S108  the machine's
    machine.run("chown", "alice", "/tmp/alice.cc")  # noqa: S108
    machine.write("/etc/zerotrust/ca.pem", machine.read("/etc/zerotrust/tls/server.crt"))
    machine.write(
        "/etc/zerotrust/client.toml",
        f'broker_url = "https://localhost:{booted.PORT}"\nca_file = "/etc/zerotrust/ca.pem"\n',
    )
    command = ["runuser", "--user", "alice", "--", "env", "KRB5CCNAME=FILE:/tmp/alice.cc", "/usr/bin/zerotrust", *words]
    return machine.run(*command).stdout
