"""The procedures of docs/operations.md, typed as they stand there; only the places and what systemd does are others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import House
from tests.fakes.broker import PROGRAMS, BrokerProcess, configuration
from tests.fakes.operator import Operator

if TYPE_CHECKING:
    from tests.fakes.realm import Realm
    from tests.fakes.sts import StrictSts

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
ROOT, ALICE = "root/admin@EXAMPLE.COM", "alice@EXAMPLE.COM"


class Host:
    """A host with one broker, whose folders are where the page says, below another root."""

    def __init__(self, root: Path, realm: Realm, sts: StrictSts) -> None:
        self.root, self.realm, self.sts = root, realm, sts
        self.etc, self.state, self.log = root / "etc/zerotrust", root / "var/lib/zerotrust", root / "var/log/zerotrust"
        for folder in (self.etc, self.state, self.log, root / "var/backups"):
            folder.mkdir(parents=True, mode=0o700)
        keytab = realm.keytab(self.etc / "http.keytab", "HTTP/localhost")
        settings = configuration(
            self.etc,
            keytab=keytab,
            sts_endpoint=sts.url,
            audit={"directory": str(self.log / "audit")},
            state={"directory": str(self.state)},
            admin={"socket": str(root / "s"), "principals": [ROOT]},
        )
        self.broker = BrokerProcess(self.etc, settings, env=realm.env)

    def ask(self, who: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Alice's credentials, or why not."""
        env = {**who, "ZEROTRUST_BROKER_URL": self.broker.url}
        return House(self.broker, self.realm, self.sts).helper(env, "credential-process", "--role", "developer")

    def revoke(self) -> None:
        operator = Operator(self.realm, "root/admin", self.root / "root-ccache")
        operator.env |= {"ZEROTRUST_ADMIN_SOCKET": str(self.root / "s"), "ZEROTRUST_HOST": "localhost"}
        done = operator.admin("revoke-credentials", "--user", ALICE)
        assert done.returncode == 0, done.stderr

    def type(self, heading: str, number: int = 0) -> str:
        """Type one of the blocks under a heading of the page; what it says. ``systemctl`` starts and stops the broker here."""
        section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        block = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[number]
        said = ""
        for part in re.split(r"^(systemctl .*)$", block, flags=re.MULTILINE):
            if part.startswith("systemctl"):
                self.systemd(part.split()[1])
            elif part.strip():
                said += self._shell(part)
        return said

    def systemd(self, verb: str) -> None:
        """``systemctl VERB zerotrust-broker``."""
        if verb in ("stop", "restart") and self.broker.process is not None:
            assert self.broker.stop() == 0
        if verb in ("start", "restart"):
            self.broker.start()

    def _shell(self, text: str) -> str:
        for place in ("/etc/zerotrust", "/var/lib/zerotrust", "/var/log/zerotrust", "/var/backups"):
            text = text.replace(place, f"{self.root}{place}")
        # The account of this process.
        text = re.sub(r"--owner zerotrust --group zerotrust", f"--owner {os.geteuid()} --group {os.getegid()}", text)
        text = text.replace("https://broker.example.com:8443", self.broker.url)
        env = {
            **self.realm.env,
            "PATH": f"{PROGRAMS}:/usr/bin:/bin",
            "ZEROTRUST_CONFIG": str(self.broker.config),
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "ZEROTRUST_AWS_SECRET_KEY": "x" * 40,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.root,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def host(realm: Realm, sts: StrictSts, tmp_path: Path) -> Host:
    return Host(tmp_path, realm, sts)


def test_a_host_that_was_lost_is_restored_with_its_revocations_and_its_old_records_verify(
    host: Host, alice: dict[str, str]
) -> None:
    with host.broker:
        assert host.ask(alice).returncode == 0
        host.revoke()
        host.type("Back up")
        (host.root / "jwks.json").write_text(
            host._shell("curl --fail https://broker.example.com:8443/.well-known/jwks.json")
        )
    # All but what the page says to keep elsewhere.
    for lost in (host.state, host.log):
        shutil.rmtree(lost)
    try:
        host.type("Restore")
        assert "revoked" in host.ask(alice).stderr
        assert host.type("Restore", 1).startswith("good: ")
        assert host.broker.records()[0]["seq"] == 1
    finally:
        host.broker.kill()


def test_a_restart_goes_on_with_records_and_revocations_where_they_ended(host: Host, alice: dict[str, str]) -> None:
    with host.broker:
        assert host.ask(alice).returncode == 0
        host.revoke()
        before = host.broker.last_record()["seq"]
        said = host.type("Upgrade")
        assert "revoked" in host.ask(alice).stderr
        (start,) = (
            record for record in host.broker.records() if record["event"] == "broker_start" and record["seq"] > 1
        )
    assert start["seq"] > before
    assert "good: " in said


def test_a_lost_disk_of_records_is_an_empty_directory_and_a_new_chain(host: Host, alice: dict[str, str]) -> None:
    with host.broker:
        assert host.ask(alice).returncode == 0
        shutil.rmtree(host.log)
        # Where the disk was mounted there is nothing that a folder could be made in.
        host.log.touch()
        assert "audit_unavailable" in host.ask(alice).stderr
        # As the page says: or the running one would go on with its old numbers on the new disk.
        host.systemd("stop")
        host.log.unlink()
        said = host.type("Disasters")
        assert host.ask(alice).returncode == 0
    assert said.startswith("good: ")


def test_a_realm_that_was_re_keyed_costs_a_new_ticket_and_nothing_else(
    realm: Realm, sts: StrictSts, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with type(realm).start(tmp_path_factory.mktemp("re-keyed"), principals={"alice": "wonderland"}) as other:
        host = Host(tmp_path, other, sts)
        old = other.kinit("alice", tmp_path / "old")
        with host.broker:
            assert host.ask(old).returncode == 0
            other.rotate("HTTP/localhost", keepold=False)
            other.keytab(host.etc / "http.keytab", "HTTP/localhost")
            host.broker.reload()
            _until_refused(host, old)
            assert "auth_failed" in host.ask(old).stderr
            assert host.ask(other.kinit("alice", tmp_path / "new")).returncode == 0


def _until_refused(host: Host, old: dict[str, str]) -> None:
    for _ in range(100):
        if host.ask(old).returncode:
            return
    raise AssertionError("the old key is still taken")
