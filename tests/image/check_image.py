"""The built image, run read-only and as its own user: ``make image`` runs this. No part of ``make test``, which builds none."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.broker import PROGRAMS, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.container import UID, Container, Image
from tests.fakes.sts import StrictSts, demo, demo_world

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.fakes.realm import Realm

LISTENING = "listening on"
# Kubernetes' name for what a volume's files lie in, which it exchanges in one rename.
DATA = "..data"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with Image() as built:
        yield built


class Stage:
    """What a container needs around it: its configuration as an orchestrator mounts it, and its volumes."""

    def __init__(self, folder: Path, realm: Realm, sts: StrictSts) -> None:
        self.folder, self.realm = folder, realm
        self.port = _free_port()
        self.secrets, self.logs, self.state = folder / "secrets", folder / "logs", folder / "state"
        for volume in (self.logs, self.state):
            volume.mkdir()
            # What fsGroup makes of an empty volume: root's, and its group's to write.
            os.chown(volume, 0, UID)
            volume.chmod(0o2775)
        krb5 = (realm.folder / "krb5.conf").read_text().splitlines(keepends=True)
        (folder / "krb5").mkdir()
        # The realm's own folder, where its other programs keep theirs, is not in the container.
        (folder / "krb5" / "krb5.conf").write_text("".join(line for line in krb5 if str(realm.folder) not in line))
        certificate = server_certificate(folder / "tls", "ecdsa-sha256")
        settings = configuration(folder, keytab=self._inside("http.keytab"), sts_endpoint=sts.url)
        settings["server"] = {"listen": [f"https://0.0.0.0:{self.port}"], "hostnames": ["localhost"]}
        settings["tls"] = {"certificate": self.inside("server.crt"), "private_key": self.inside("server.key")}
        settings["encryption"] = {"key_file": self.inside("encryption_key")}
        settings["audit"] = {"directory": "/var/log/zerotrust/audit"}
        settings["state"] = {"directory": "/var/lib/zerotrust/state"}
        self.settings = settings
        self.authority = certificate.certificate
        self.files = {
            "http.keytab": realm.keytab(folder / "http.keytab", "HTTP/localhost").read_bytes(),
            "encryption_key": (folder / "encryption_key").read_bytes(),
            "server.crt": certificate.pem,
            "server.key": certificate.key_pem,
        }
        self.project()

    def inside(self, name: str) -> str:
        """Where the container sees one of the files."""
        return f"/etc/zerotrust/{DATA}/{name}"

    def _inside(self, name: str) -> Path:
        return Path(self.inside(name))

    def project(self, *, mode: int = 0o440) -> None:
        """Write the files as the kubelet does: root's, the group's to read, behind a link that is exchanged at once."""
        files = {**self.files, "config.yaml": json.dumps(self.settings).encode()}
        version = self.secrets / f"..{len(list(self.folder.glob('secrets/*')))}"
        version.mkdir(parents=True)
        for name, content in files.items():
            (version / name).write_bytes(content)
            os.chown(version / name, 0, UID)
            (version / name).chmod(mode)
        fresh = self.secrets / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.rename(self.secrets / DATA)
        for path in (self.secrets, version):
            os.chown(path, 0, UID)

    def container(self, image: Image, hostname: str = "broker-0") -> Container:
        volumes = {
            "/etc/zerotrust:ro": self.secrets,
            "/etc/krb5:ro": self.folder / "krb5",
            "/var/log/zerotrust": self.logs,
            "/var/lib/zerotrust": self.state,
        }
        env = {
            "ZEROTRUST_CONFIG": self.inside("config.yaml"),
            "KRB5_CONFIG": "/etc/krb5/krb5.conf",
            "AWS_ACCESS_KEY_ID": demo.BROKER_ACCESS_KEY_ID,
            "ZEROTRUST_AWS_SECRET_KEY": demo.BROKER_SECRET_ACCESS_KEY,
        }
        return Container(image, self.folder, volumes=volumes, env=env, hostname=hostname)

    def ask(self, alice: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """One role's credentials, as the AWS CLI asks for them."""
        env = {
            "PATH": "/usr/bin:/bin",
            "ZEROTRUST_BROKER_URL": f"https://localhost:{self.port}",
            "ZEROTRUST_CA_FILE": str(self.authority),
            "HOME": str(self.folder),
            **alice,
        }
        command = [PROGRAMS / "zerotrust", "credential-process", "--role", "developer"]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    def records(self) -> list[dict[str, Any]]:
        files = sorted((self.logs / "audit").glob("audit-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def stage(realm: Realm, tmp_path: Path) -> Iterator[Stage]:
    with StrictSts(demo_world()) as sts:
        yield Stage(tmp_path, realm, sts)


@pytest.fixture
def alice(realm: Realm, tmp_path: Path) -> dict[str, str]:
    return realm.kinit("alice", tmp_path / "ccache")


def test_it_serves_a_real_credential_from_a_read_only_root_without_any_right(
    image: Image, stage: Stage, alice: dict[str, str]
) -> None:
    with stage.container(image).start() as container:
        container.until_it_says(LISTENING)
        given = stage.ask(alice)
        assert given.returncode == 0, given.stderr + container.said()
        status = dict(line.split(":\t", 1) for line in container.run("cat", "/proc/1/status").stdout.splitlines())
        assert status["Uid"].split() == [str(UID)] * 4
        assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert container.run("touch", "/opt/zerotrust/x").stderr.endswith("Read-only file system\n")
        healthy = container.run("zerotrust-broker", "health")
        assert (healthy.returncode, healthy.stdout) == (0, f"https://0.0.0.0:{stage.port}: alive\n")
        container.send(signal.SIGTERM)
        code, seconds = container.ended()
        assert code == 0
        assert seconds < 10
    key = json.loads(given.stdout)["AccessKeyId"]
    assert [record["access_key_id"] for record in stage.records() if record["event"] == "issued"] == [key]


def test_its_health_check_is_that_of_the_dockerfile_and_fails_where_the_broker_hangs(
    image: Image, stage: Stage
) -> None:
    assert image.config["Healthcheck"]["Test"] == ["CMD", "zerotrust-broker", "health"]
    with stage.container(image).start() as container:
        container.until_it_says(LISTENING)
        container.send(signal.SIGSTOP)
        assert container.run("zerotrust-broker", "health").returncode == 1
        container.send(signal.SIGCONT)
        assert container.run("zerotrust-broker", "health").returncode == 0


def test_a_killed_one_goes_on_with_its_own_records_under_its_host_name(
    image: Image, stage: Stage, alice: dict[str, str], tmp_path: Path
) -> None:
    for _ in range(2):
        with stage.container(image).start() as container:
            container.until_it_says(LISTENING)
            assert stage.ask(alice).returncode == 0
            container.send(signal.SIGKILL)
            container.ended()
    assert [file.name for file in (stage.logs / "audit").glob("audit-*.jsonl")] == ["audit-broker-0-1.jsonl"]
    with stage.container(image).start() as container:
        container.until_it_says(LISTENING)
        verified = container.run("zerotrust-admin", "audit", "verify", "/var/log/zerotrust/audit")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_keytab_that_the_orchestrator_exchanges_is_taken_over_while_it_serves(
    image: Image, stage: Stage, alice: dict[str, str], tmp_path: Path
) -> None:
    with stage.container(image).start() as container:
        container.until_it_says(LISTENING)
        stage.realm.rotate("HTTP/localhost")
        stage.files["http.keytab"] = stage.realm.keytab(tmp_path / "new.keytab", "HTTP/localhost").read_bytes()
        stage.project()
        container.send(signal.SIGHUP)
        container.until_it_says("keytab")
        fresh = stage.realm.kinit("alice", tmp_path / "fresh")
        given = stage.ask(fresh)
        assert given.returncode == 0, given.stderr + container.said()


def test_files_that_others_may_read_are_refused_with_the_fix(image: Image, stage: Stage) -> None:
    stage.project(mode=0o444)
    with stage.container(image).start() as container:
        code, _ = container.ended()
    assert code == 78
    assert "open to others — fix: chmod g-w,o=" in container.said()


def test_nothing_in_it_compiles_installs_or_becomes_root(image: Image) -> None:
    programs = {
        path.name for folder in ("usr/bin", "usr/sbin", "opt/zerotrust/bin") for path in (image.root / folder).iterdir()
    }
    assert not {name for name in programs if name.startswith(("pip", "gcc", "cc", "c++", "git", "make", "uv"))}
    packages = {path.name for path in (image.root / "opt/zerotrust/lib/python3.11/site-packages").iterdir()}
    assert not packages & {"pip", "setuptools", "wheel", "Cython", "hatchling"}
    assert not list((image.root / "usr/lib/python3").glob("dist-packages/pip"))
    marked = [
        path
        for folder, _, names in os.walk(image.root)
        for path in (Path(folder, name) for name in names)
        if stat.S_ISREG(mode := path.lstat().st_mode) and mode & (stat.S_ISUID | stat.S_ISGID)
    ]
    assert marked == []


def test_nothing_of_the_machine_that_built_it_is_in_it(image: Image) -> None:
    assert not (image.root / "etc/pip.conf").exists() or (image.root / "etc/pip.conf").stat().st_size == 0
    assert not list((image.root / "run/machine").glob("*"))
    assert not (image.root / "src").exists()


def test_every_program_starts_and_no_module_has_to_be_compiled_first(image: Image, stage: Stage) -> None:
    with stage.container(image).start() as container:
        container.until_it_says(LISTENING)
        for program in ("zerotrust-broker", "zerotrust-admin", "zerotrust"):
            assert container.run(program, "--help").returncode == 0
    packages = image.root / "opt/zerotrust/lib/python3.11/site-packages/broker"
    assert len(list(packages.rglob("*.pyc"))) == len(list(packages.rglob("*.py")))
