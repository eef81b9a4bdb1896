"""What is pasted into a shell sets exactly what it says, whatever stands in it: each shell that is there reads it for real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from broker.core.credentials import Credentials
from broker.core.secret import Secret
from broker.web.portal.shells import blocks

PLAIN = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY=="
HOSTILE = "a'b\"c\\d$(touch owned)`id`;e &f|g\u2019h\\'i%PATH%!"
NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION")


def credentials_with(secret: str) -> Credentials:
    return Credentials(
        access_key_id="ASIAQWERTYUIOPASDFGH",
        secret_access_key=Secret(secret),
        session_token=Secret("T//" * 40 + "="),
        expiration=datetime(2026, 1, 31, 12, tzinfo=UTC),
        account="111122223333",
        role_arn="arn:aws:iam::111122223333:role/Developer",
    )


def block(name: str, secret: str) -> str:
    return next(each.text for each in blocks(credentials_with(secret)) if each.name == name)


# Or fish makes folders of its own in the home of whoever runs the tests, and in /tmp.
OURS = {name: os.environ[name] for name in ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")}


@pytest.mark.parametrize("secret", [PLAIN, HOSTILE], ids=["AWS's", "hostile"])
@pytest.mark.parametrize(("shell", "name"), [("bash", "posix"), ("dash", "posix"), ("zsh", "posix"), ("fish", "fish")])
def test_a_shell_reads_it_as_it_was(shell: str, name: str, secret: str) -> None:
    program = shutil.which(shell)
    assert program is not None, f"{shell} is not installed"
    script = block(name, secret) + "\nenv -0\n"
    done = subprocess.run(
        [program], input=script.encode(), env={"PATH": "/usr/bin:/bin", **OURS}, capture_output=True, check=True
    )
    found = dict(line.partition("=")[::2] for line in done.stdout.decode().split("\0"))
    assert done.stderr == b""
    assert [found[each] for each in NAMES] == [
        "ASIAQWERTYUIOPASDFGH",
        secret,
        "T//" * 40 + "=",
        "2026-01-31T12:00:00Z",
    ]


@pytest.mark.parametrize("secret", [PLAIN, HOSTILE], ids=["AWS's", "hostile"])
def test_json_is_the_body_that_the_helper_gives(secret: str) -> None:
    body = json.loads(block("json", secret))
    assert (body["Version"], body["SecretAccessKey"], body["Expiration"]) == (1, secret, "2026-01-31T12:00:00Z")


def test_powershell_and_dotenv_quote_literally() -> None:
    assert f"$Env:AWS_SECRET_ACCESS_KEY = '{PLAIN}'" in block("powershell", PLAIN)
    assert "'it''s \u2019\u2019so'" in block("powershell", "it's \u2019so")
    assert "AWS_SECRET_ACCESS_KEY='two words'" in block("dotenv", "two words")


def test_what_aws_gives_stands_in_an_env_file_without_quotes_which_docker_would_keep() -> None:
    assert f"AWS_SECRET_ACCESS_KEY={PLAIN}\n" in block("dotenv", PLAIN)


def test_what_a_file_has_no_way_to_write_is_not_shown_there() -> None:
    assert [each.name for each in blocks(credentials_with(HOSTILE))] == ["posix", "powershell", "fish", "json"]
