"""``zerotrust-admin encrypt-value``."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from broker.admin.assembled import Assembled
from broker.admin.encrypt_value import encrypt_value
from broker.assembly.audit import own_keys
from broker.assembly.backup import VaultFiles
from broker.assembly.evidence import setup_of
from broker.assembly.resolver import VaultResolver, sealed_value
from broker.assembly.transit import Documents
from broker.cli import check_config
from broker.core.clock import SystemClock
from tests.fakes.broker import PROGRAMS

BY_OPERATOR = Assembled(
    probe=lambda _settings: [],
    examine=lambda _config, _only, _assume: iter(()),
    caller=lambda _settings: "",
    setup=setup_of,
    key_ages=lambda _settings: [],
    own_keys=own_keys,
    resolver=lambda sections: VaultResolver(sections=sections),
    sealed_value=sealed_value,
    vault_files=lambda: VaultFiles(clock=SystemClock()),
    documents=Documents,
)

CONFIG = """\
server: {{listen: ["http://127.0.0.1:0"]}}
kerberos: {{keytabs: "{folder}/http.keytab", realms: {{EXAMPLE.COM: {{}}}}}}
aws: {{region: eu-central-1}}
encryption: {{key_file: "{folder}/key"}}
audit: {{directory: "{folder}/audit"}}
redis: {{url: "redis://localhost", password: {password}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in (("http.keytab", ""), ("key", base64.b64encode(bytes(32)).decode())):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(content)
    configure(tmp_path, "plain")
    return tmp_path


def configure(folder: Path, password: str) -> None:
    (folder / "config.yaml").touch(mode=0o600)
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder, password=password))


def encrypt(folder: Path, key: str, text: bytes) -> Result:
    arguments = [key, "--config", str(folder / "config.yaml")]
    return CliRunner().invoke(encrypt_value, arguments, input=text, obj=BY_OPERATOR)


def test_the_installed_program_has_the_command(folder: Path) -> None:
    command = [str(PROGRAMS / "zerotrust-admin"), "encrypt-value", "redis.password", "--config"]
    done = subprocess.run(
        [*command, str(folder / "config.yaml")], input=b"canary\n", capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"enc:v1:")


def test_what_it_prints_is_accepted_behind_its_key_and_shows_nothing(folder: Path) -> None:
    done = encrypt(folder, "redis.password", b"canary-password\n")
    assert (done.exit_code, done.stderr) == (0, "")
    sealed = done.stdout.strip()
    assert sealed.startswith("enc:v1:")
    assert "canary" not in sealed
    configure(folder, f'"{sealed}"')
    # Loaded again, with a value that has to open.
    assert encrypt(folder, "redis.password", b"x").exit_code == 0
    configure(folder, f'"{encrypt(folder, "aws.secret_key", b"canary").stdout.strip()}"')
    done = CliRunner().invoke(check_config, ["--config", str(folder / "config.yaml")])
    assert done.exit_code == 78
    assert "config.yaml:6: redis.password: is sealed for another key of the configuration" in done.stderr


@pytest.mark.parametrize(
    ("key", "text", "fault"),
    [
        ("redis.passphrase", b"x", "no key of this name takes a sealed text"),
        ("redis..password", b"x", "no key of this name takes a sealed text"),
        ("audit.directory", b"x", "no key of this name takes a sealed text"),
        ("redis", b"x", "no key of this name takes a sealed text"),
        ("roles.dev.chain[0]", b"x", "no key of this name takes a sealed text"),
        ("roles.dev.chain.external_id", b"x", "no key of this name takes a sealed text"),
        ("encryption.key", b"x", "cannot be sealed with itself"),
        ("redis.password", b"", "stdin: is empty"),
        ("redis.password", b"\xff", "stdin: is not UTF-8 text"),
    ],
)
def test_what_cannot_be_sealed_is_refused_with_its_fix(folder: Path, key: str, text: bytes, fault: str) -> None:
    done = encrypt(folder, key, text)
    assert (done.exit_code, done.stdout) == (1, "")
    assert fault in done.stderr
    assert " — fix: " in done.stderr
