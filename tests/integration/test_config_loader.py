"""``ConfigLoader`` for programs: the guide's example as it prints it, on the guide's machine, with a real vault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import guide

REPOSITORY = Path(__file__).parents[2]
AS_ROOT = [] if os.geteuid() == 0 else ["--map-root-user"]
SHOW = "[redis_password.reveal(), repr(redis_password), repr(config), str(redis_password)]"


def on_the_guides_machine(folder: Path, config: str, *, show: str = SHOW, login: bool = True, **vault: Any) -> Any:
    """What the guide's program has in the end."""
    asked = {"config": config, "code": guide.python("ConfigLoader"), "vault": vault, "show": show, "login": login}
    done = subprocess.run(
        [
            "unshare",
            *AS_ROOT,
            "--mount",
            "--propagation=unchanged",
            "--net",
            sys.executable,
            "-m",
            "tests.fakes.guide_machine",
            str(folder),
        ],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_guides_program_runs_with_the_guides_file(tmp_path: Path) -> None:
    value, *shown = on_the_guides_machine(tmp_path, guide.config_yaml())
    assert value == "canary-from-a-file"
    assert "canary" not in "".join(shown)


def test_the_guides_program_takes_from_the_vault_what_the_file_does_not_hold(tmp_path: Path) -> None:
    file = guide.config_yaml().replace(
        "  password_file: /etc/zerotrust/secrets/redis_password\n", "  url: redis://localhost\n"
    )
    assert "password" not in file
    for config in (file, file.replace("  url", '  password_secret: "other#it"\n  url')):
        folder = tmp_path / str(len(config))
        folder.mkdir()
        value, *shown = on_the_guides_machine(
            folder, config, redis={"password": "canary-by-name"}, other={"it": "canary-by-reference"}
        )
        assert value == ("canary-by-reference" if "password_secret" in config else "canary-by-name")
        assert "canary" not in "".join(shown)


def test_without_the_variables_of_the_login_the_guides_program_says_what_is_missing(tmp_path: Path) -> None:
    said = on_the_guides_machine(tmp_path, guide.config_yaml(), login=False)
    assert said == (
        "ZeroTrustError: secrets_config has no value for role_id, secret_id [configuration]"
        " — run: export the variables it comes from"
    )


PROGRAM = """
import sys
sys.path.insert(0, {repository!r})
from zerotrust_kerberos import ConfigLoader, ZeroTrustError
try:
    with ConfigLoader.load({file!r}) as config:
        {use}
except ZeroTrustError as error:
    print(error.code, error.exit_status, error)
"""


def program(file: Path, use: str, *, after: str = "", flags: tuple[str, ...] = (), **environ: str) -> str:
    code = PROGRAM.format(repository=str(REPOSITORY), file=str(file), use=use) + after
    command = [sys.executable, *flags, "-c", code]
    env = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=env).stdout.strip()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.touch(mode=0o600)
    path.write_text('redis: {url: "redis://localhost", password: canary}\naws: {region: eu-central-1}\n')
    return path


def test_a_programs_file_may_hold_any_part_and_the_environment_goes_before_it(file: Path) -> None:
    use = "print(config.get('aws.region'), config.get('aws.profile'), config.get_secret('redis.password').reveal())"
    assert program(file, use) == "eu-central-1 None canary"
    assert program(file, use, ZEROTRUST_REDIS_PASSWORD="other") == "eu-central-1 None other"


WRONG = [
    ("config.get('redis.password')", "", "redis.password: is a secret — fix: ask for it with get_secret"),
    ("config.get_secret('redis.user')", "", "redis.user: has no value — fix: set it, as user_file, or name a vault"),
    ("None", ", 'vault'", "secrets.provider: is none of the possible values"),
    ("None", ", 'hashicorp-vault', {'url': 'x'}", "secrets_config: secrets.config.url: is not the URL of a server"),
    ("None", ", None, {'url': 'x'}", "secrets_config says nothing without secrets_provider"),
]


def test_what_is_wrong_is_said_with_its_fix_and_without_a_secret(file: Path) -> None:
    # All in one process: to start one that knows the configuration takes longer than to try them.
    tried = "".join(
        f"""
try:
    with ConfigLoader.load({str(file)!r}{more}) as config:
        {use}
except ZeroTrustError as error:
    print(error.code, error.exit_status, error)
"""
        for use, more, _ in WRONG
    )
    found = program(file, "pass", after=tried).split("configuration 2 ")
    assert found[0] == ""
    assert len(found) == len(WRONG) + 1
    for (_, _, said), line in zip(WRONG, found[1:], strict=True):
        assert said in line
    assert "canary" not in "".join(found)


def test_a_file_that_others_can_read_is_refused(file: Path) -> None:
    file.chmod(0o644)
    assert "config.yaml: has mode 0644, open to others" in program(file, "pass")


def test_behind_the_with_block_nothing_is_revealed_any_more(file: Path) -> None:
    use = (
        "kept = config.get_secret('redis.password')\n    try:\n        kept.reveal()\n    except Exception as error:\n"
    )
    assert program(file, use + "        print(type(error).__name__)") == "Wiped"


def test_the_base_installation_names_the_extra_that_is_missing(file: Path) -> None:
    # As `pip install zerotrust-kerberos-link` leaves it: no package beside it.
    found = program(file, "pass", flags=("-S",))
    assert found.startswith("configuration 2 ConfigLoader needs more than the base installation (no module ")
    assert "pip install 'zerotrust-kerberos-link[broker]'" in found


def test_importing_the_package_brings_nothing_in_and_its_classes_only_what_they_need() -> None:
    for what, foreign in (
        ("zerotrust_kerberos", {"ctypes", "json", "broker"}),
        ("zerotrust_kerberos.sdk.secret_manager", {"pydantic", "yaml", "broker.core", "broker.config", "cryptography"}),
        ("zerotrust_kerberos.sdk.config_loader", {"pydantic", "yaml", "broker.core", "broker.config", "cryptography"}),
    ):
        code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import {what}; print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        assert foreign & set(done.stdout.split()) == set(), what
