"""`zerotrust-admin secrets backup`, `restore`, `verify-backup` as an operator runs them, and the evidence that they leave."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from broker.admin.assembled import Assembled
from broker.admin.cli import main
from broker.assembly.backup import VaultFiles
from broker.assembly.resolver import VaultResolver
from broker.core.clock import SystemClock
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault
from tests.fakes.realm import Realm
from tests.fakes.vault import fields, shown

KEY = b"m" * 32
CANARY = "canary-of-the-vault"
_NOTHING: Any = None
ASSEMBLED = Assembled(
    **{
        **dict.fromkeys(Assembled.__dataclass_fields__, _NOTHING),
        "resolver": lambda sections: VaultResolver(sections=sections),
        "vault_files": lambda: VaultFiles(clock=SystemClock()),
    }
)


@dataclass
class Machine:
    """One with a configuration, a master key and folders of its own."""

    folder: Path
    key: bytes = KEY

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name in ("audit", "state"):
            (self.folder / name).mkdir(mode=0o700)
        self.secret("key", self.key)
        self.config = self.folder / "config.yaml"
        self.config.write_text(
            json.dumps(
                {
                    "server": {"listen": ["http://127.0.0.1:0"]},
                    "kerberos": {"keytabs": [str(self.folder / "keytab")], "realms": {"EXAMPLE.COM": {}}},
                    "aws": {"region": "eu-central-1"},
                    "encryption": {"key_file": str(self.folder / "key")},
                    "audit": {"directory": str(self.folder / "audit")},
                    "state": {"directory": str(self.folder / "state")},
                }
            )
        )
        self.config.chmod(0o600)
        (self.folder / "keytab").touch(mode=0o600)

    def secret(self, name: str, key: bytes) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(base64.b64encode(key))
        return path

    def vault(self) -> Vault:
        envelope = KeyHierarchy(master=self.key).envelope(Use.VAULT_SEAL)
        return Vault(store=SqliteStore(directory=self.folder / "state"), envelope=envelope, clock=SystemClock())

    def program(self, *words: str) -> str:
        done = subprocess.run(
            [Path(sys.executable).with_name("zerotrust-admin"), *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def admin(self, *words: str, code: int = 0) -> str:
        """The same command without a process of its own, of which one start is a second of a busy machine."""
        done = CliRunner().invoke(main, ["secrets", *words, "--config", str(self.config)], obj=ASSEMBLED)
        assert done.exit_code == code, done.stderr
        return done.stdout + done.stderr

    def events(self) -> list[dict[str, object]]:
        records = [
            json.loads(line)
            for file in sorted((self.folder / "audit").glob("*.jsonl"))
            for line in file.read_text().splitlines()
        ]
        return [record for record in records if str(record["event"]).startswith("secrets_")]


async def fill(machine: Machine) -> None:
    vault = machine.vault()
    await vault.write("db/main", fields(password=CANARY))
    await vault.write("db/main", fields(password="newer"))
    await vault.close()


async def contents(machine: Machine) -> list[object]:
    vault = machine.vault()
    try:
        return [
            await vault.list(""),
            await vault.metadata("db/main"),
            shown(await vault.read("db/main", version="1")),
        ]
    finally:
        await vault.close()


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, Path]:
    machine = Machine(tmp_path_factory.mktemp("vault") / "one")
    asyncio.run(fill(machine))
    file = machine.folder / "vault.backup"
    said = machine.program("secrets", "backup", str(file), "--recovery-key", str(machine.secret("recovery", b"r" * 32)))
    assert "1 secret with 2 versions" in said
    return machine, file


def test_the_file_is_private_and_whole_and_nothing_is_written_over(backed_up: tuple[Machine, Path]) -> None:
    machine, file = backed_up
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    assert CANARY.encode() not in before
    assert "is there already" in machine.admin("backup", str(file), code=1)
    assert file.read_bytes() == before
    assert sorted(path.name for path in machine.folder.glob("vault.backup*")) == ["vault.backup"]


def test_an_empty_machine_with_the_master_key_alone_has_the_same_secrets(
    backed_up: tuple[Machine, Path], tmp_path: Path
) -> None:
    machine, file = backed_up
    empty = Machine(tmp_path / "two")
    assert "1 secret with 2 versions" in empty.program("secrets", "restore", str(file))
    assert asyncio.run(contents(empty)) == asyncio.run(contents(machine))
    assert "nothing was changed" in empty.admin("restore", str(file), code=1)
    assert "left as it is: db/main" in empty.admin("restore", str(file), "--merge")
    assert [event["event"] for event in empty.events()] == ["secrets_restored"] * 2


def test_when_the_master_key_is_lost_the_recovery_key_opens_it(backed_up: tuple[Machine, Path], tmp_path: Path) -> None:
    machine, file = backed_up
    other = Machine(tmp_path / "two", key=b"o" * 32)
    assert "no key that is here opens it — fix: " in other.admin("restore", str(file), code=1)
    other.admin("restore", str(file), "--recovery-key", str(machine.folder / "recovery"))
    assert asyncio.run(contents(other))[2] == {"password": CANARY}


def test_a_machine_without_a_folder_for_records_is_told_how_to_make_one(
    backed_up: tuple[Machine, Path], tmp_path: Path
) -> None:
    other = Machine(tmp_path / "two", key=KEY)
    (other.folder / "audit").rmdir()
    said = other.admin("restore", str(backed_up[1]), code=1)
    assert (
        f"audit is not there, where it is recorded — fix: install -d -m 700 -o ACCOUNT {other.folder / 'audit'}" in said
    )


def test_a_tried_backup_is_evidence_in_the_reports_and_a_damaged_one_is_named_and_is_none(
    backed_up: tuple[Machine, Path], realm: Realm, tmp_path: Path
) -> None:
    machine, file = backed_up
    # A report reads the configuration whole.
    realm.keytab(tmp_path / "keytab", "HTTP/localhost").replace(machine.folder / "keytab")
    bad = tmp_path / "bad.backup"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    bad.write_bytes(content)
    assert "record " in machine.admin("verify-backup", str(bad), code=1)
    assert "good, 1 secret with 2 versions" in machine.program("secrets", "verify-backup", str(file))
    events = [(event["event"], event["success"]) for event in machine.events()]
    assert events == [
        ("secrets_backed_up", True),
        ("secrets_backup_bad", False),
        ("secrets_backup_verified", True),
    ]
    said = machine.program(
        *("compliance-report", "--standard", "soc2", "--output", "-", "--from", str(machine.folder / "audit"))
    )
    assert "Backups of the vault that were read back whole in the period: 1" in said


def test_a_backup_that_cannot_be_recorded_is_not_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "one")
    asyncio.run(fill(machine))
    # Where records should lie is nothing to write to, for root neither.
    os.rename(machine.folder / "audit", machine.folder / "away")  # noqa: PTH104
    (machine.folder / "audit").symlink_to("/proc/self/task")
    said = machine.admin("backup", str(machine.folder / "vault.backup"), code=1)
    assert "recorded" in said or "user id" in said
    assert not list(machine.folder.glob("vault.backup*"))
