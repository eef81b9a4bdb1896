"""The README and the tutorial as somebody who tries them: commands are typed as they stand there, and show what it says there.

Nothing of them is repeated here. Where it has an output, the terminal has to show the same but for what differs each time
(numbers of requests, keys, times, where the broker is); ``...`` stands for anything. A command whose output it leaves out
has to succeed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.e2e.conftest import House, settings_of
from tests.fakes.broker import PROGRAMS, BrokerProcess
from tests.fakes.realm import Realm
from tests.fakes.sts import StrictSts, demo
from tests.fakes.terminal import on_terminal

_ROOT = Path(__file__).parents[2]
README = (_ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (_ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BROKER = "https://broker.example.com:8443"
PASSWORDS = {"alice": "wonderland", "mallory": "mischief"}
# What is run elsewhere: by CI itself and tests/e2e/test_demo.py; the daemon by every test here.
ELSEWHERE = ("make ", "zerotrust-broker serve ")
BROKERS_KEYS = {
    "AWS_ACCESS_KEY_ID": demo.BROKER_ACCESS_KEY_ID,
    "ZEROTRUST_AWS_SECRET_KEY": demo.BROKER_SECRET_ACCESS_KEY,
}
# A browser, as far as the README can show one: it opens what it is given.
BROWSER = "curl --silent --output /dev/null %s"

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SETTINGS = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What differs from one run to the next.
_VARYING = (
    (r"https?://(localhost|broker\.example\.com):\d+", "BROKER"),
    (r"\b(A[A-Z]{3})[A-Z2-7]{16,17}\b", r"\1"),
    (r"request [0-9a-f]{24}", "request ID"),
    (r"^\S+(?=: added )", "FILE"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"\b\d\d:\d\d(:\d\d)?\b", "TIME"),
    (r"\b\d+ (h|hours?|m|min|minutes?|s|seconds?|records?)\b", r"N \1"),
)


@dataclass
class Typed:
    """A command, and the lines that the README has below it."""

    command: str
    shown: list[str] = field(default_factory=list)


def blocks(page: str) -> list[list[Typed]]:
    found = []
    for text in _BLOCK.findall(page):
        typed: list[Typed] = []
        for line in text.splitlines():
            if line.startswith("$ "):
                typed.append(Typed(line[2:]))
            elif typed and typed[-1].command.endswith("\\"):
                typed[-1].command += f"\n{line}"
            else:
                typed[-1].shown.append(line)
        found.append([each for each in typed if not each.command.startswith(ELSEWHERE)])
    return [block for block in found if block]


class Shell:
    """Somebody's terminal on the machine of the README."""

    def __init__(self, house: House, home: Path) -> None:
        self._home = home
        self._environment = home / "environment"
        self._env = {
            "PATH": f"{PROGRAMS}:/usr/bin:/bin",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "AWS_ENDPOINT_URL_STS": house.sts.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "KRB5_CONFIG": house.realm.env["KRB5_CONFIG"],
            "KRB5CCNAME": f"FILE:{home}/ccache",
            "BROWSER": BROWSER,
            "NO_COLOR": "1",
        }
        # Where things lie for the README, and where they lie here.
        self._places = {
            BROKER: house.broker.url,
            "/etc/zerotrust/config.yaml": str(house.broker.config),
            "/var/log/zerotrust/audit": str(house.broker.audit_directory),
            ".demo/up/config.yaml": str(house.broker.config),
        }

    def here(self, text: str) -> str:
        for there, here in self._places.items():
            text = text.replace(there, here)
        return text

    def type(self, command: str) -> tuple[int, str]:
        """Exit status, and what the terminal shows; variables that it exports stay."""
        # What a service has in its environment is not in the users'.
        keys = BROKERS_KEYS if command.startswith("zerotrust-broker ") else {}
        user = next((name for name in PASSWORDS if re.search(rf"\b{name}\b", command)), "alice")
        script = f"{self.here(command)}\nstatus=$?\nenv -0 >{self._environment}\nexit $status\n"
        typed = f"bash -c {shlex.quote(script)} <<<{PASSWORDS[user]}"
        done = on_terminal(["bash", "-c", typed], self._env | keys, cwd=self._home, err=True)
        variables = self._environment.read_text().rstrip("\0").split("\0")
        found = dict(variable.split("=", 1) for variable in variables)
        self._env = {name: value for name, value in found.items() if name not in keys}
        return done.returncode, done.stdout


@pytest.fixture
def shell(house: House, tmp_path: Path) -> Shell:
    """alice has just logged in, on a machine that knows its broker as the README says."""
    shell = Shell(house, tmp_path)
    settings = tmp_path / ".config" / "zerotrust" / "config.toml"
    settings.parent.mkdir(parents=True)
    [text] = _SETTINGS.findall(README)
    settings.write_text(shell.here(text))
    with urlopen(f"{house.broker.url}/.well-known/jwks.json") as answer:  # noqa: S310  our own
        (tmp_path / "jwks.json").write_bytes(answer.read())
    assert shell.type("kinit alice")[0] == 0
    return shell


@pytest.fixture(scope="module")
def own_house(realm: Realm, sts_service: StrictSts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The usual one, where the console can be opened, and accounts have names."""
    folder = tmp_path_factory.mktemp("readme")
    settings = settings_of(folder, realm, sts_service)
    settings["aws"] |= {
        "signin_endpoint": f"{sts_service.url}/federation",
        "account_aliases": {"payments-prod": "111122223333"},
        "production_accounts": ["111122223333"],
    }
    with BrokerProcess(folder, settings, env=realm.env) as broker:
        yield House(broker, realm, sts_service)


@pytest.fixture
def house(own_house: House, sts: StrictSts) -> House:
    return own_house


def same(text: str) -> list[str]:
    """The lines without what varies; white space at their ends is nobody's."""
    for varying, name in _VARYING:
        text = re.sub(varying, name, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def expected(shown: list[str]) -> str:
    """A pattern of the whole output."""
    lines = same("\n".join(shown))
    return "\n".join(re.escape(line).replace(re.escape("..."), ".*" if line != "..." else r"[\s\S]*") for line in lines)


def is_refusal(text: str) -> bool:
    return bool(re.search(r"\[[a-z_]+\] — run: ", text))


def test_the_readme_has_commands_to_try() -> None:
    programs = {typed.command.split()[0] for block in blocks(README) for typed in block}
    assert programs >= {"aws", "zerotrust", "zerotrust-admin", "zerotrust-broker", "curl"}


@pytest.mark.parametrize("block", blocks(README), ids=lambda block: block[0].command[:40])
def test_every_command_shows_what_the_readme_says(block: list[Typed], shell: Shell) -> None:
    typed_as_shown(block, shell)


def test_the_tutorial_can_be_walked_from_its_beginning_to_its_end(shell: Shell) -> None:
    typed_as_shown([typed for block in blocks(TUTORIAL) for typed in block], shell)


def typed_as_shown(block: list[Typed], shell: Shell) -> None:
    for typed in block:
        status, said = shell.type(typed.command)
        if typed.shown:
            assert re.fullmatch(expected(typed.shown), "\n".join(same(said))), (typed.command, said)
        else:
            assert '"code":' not in said, (typed.command, said)
        assert (status != 0) == is_refusal("\n".join(typed.shown)), (typed.command, status, said)
