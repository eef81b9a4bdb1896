"""`zerotrust-admin` starts with what the command needs and no more; its help loads no command and says the same as each."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from broker.admin.cli import main, sections

# Each takes from twenty to hundreds of milliseconds.
HEAVY = {
    *("aiohttp", "boto3", "botocore", "cryptography", "gssapi", "http_message_signatures", "hvac", "jwt", "pkcs11"),
    *("prometheus_client", "pydantic", "redis", "requests", "urllib3", "uvloop", "yaml"),
    *("asyncio", "sqlite3", "ssl", "broker.config", "broker.assembly", "broker.audit"),
}
START = """
import sys
from broker.cli import admin
try:
    admin()
except SystemExit as end:
    status = end.code
print(status, *sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--help"], "0"),
        (["--version"], "0"),
        (["whoami", "--help"], "0"),
        (["revoke-sessions", "--help"], "0"),
        (["secrets", "get", "--help"], "0"),
        (["doctor", "--help"], "0"),
        # As far as to the broker that is not there: without a ticket that is 3, with one 5.
        (["whoami", "--socket", "/nowhere/admin.sock"], "35"),
    ],
    ids=" ".join,
)
def test_what_asks_a_running_broker_and_help_load_nothing_heavy(words: list[str], status: str) -> None:
    command = [sys.executable, "-c", START, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    ended, *modules = done.stderr.splitlines()[-1].split()
    assert ended in status, done.stderr
    assert HEAVY & set(modules) == set()


@pytest.mark.parametrize(
    "command", [each for commands in sections().values() for each in commands], ids=lambda each: each.name
)
def test_help_says_of_a_command_what_it_says_of_itself(command: click.Command) -> None:
    shown = main.get_help(click.Context(main, info_name="zerotrust-admin", terminal_width=400, max_content_width=400))
    [line] = [line for line in shown.splitlines() if line.split()[:1] == [command.name]]
    assert line.split(maxsplit=1)[1] == command.get_short_help_str(400)


def test_a_command_that_is_none_is_told() -> None:
    with pytest.raises(click.UsageError, match="No such command 'whoam'"):
        main.main(["whoam"], standalone_mode=False)
