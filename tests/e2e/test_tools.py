"""The AWS tools at each door of the user's side: what works, and what a user sees who has no luck.

docs/tools.md has the table; here it is measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import House
from tests.fakes import aws_tools
from tests.fakes.broker import PROGRAMS

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
ARN = "arn:aws:sts::111122223333:assumed-role/Developer/alice@EXAMPLE.COM"
BY_NAME = " by name"
DOCUMENT = Path(__file__).parents[2] / "docs" / "tools.md"

CODES = {
    "denied": "access_denied",
    "no ticket": "no_ticket",
    "broker down": "broker_unreachable",
    "clock skew": "clock_skew",
}


def documented(door: str) -> dict[str, tuple[str, int]]:
    """What docs/tools.md says that a failure looks like in each tool: the text around our line, and the exit status."""
    rows = re.findall(rf"^\| {door} \| ([\w. ]+) \| `(.+?)` \| (\d+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    return {tool: (shows, int(status)) for tool, shows, status in rows}


def pattern(shows: str, code: str) -> str:
    """``...`` stands for anything on a line, ``LINE`` for ours, an arrow for a line's end."""
    parts = {"...": r"[^\n]*", "LINE": rf"[^\n]+ \[{code}\] — run: [^\n]+", "↵": r"\n"}
    pieces = re.split(r"(\.\.\.|LINE| ?↵ ?)", shows)
    return "".join(parts.get(piece.strip(), re.escape(piece)) for piece in pieces) + r"(\n|$)"


@contextmanager
def credential_process(_who: Mapping[str, str], broker: str, folder: Path) -> Iterator[dict[str, str]]:
    helper = f"{PROGRAMS / 'zerotrust'} credential-process --broker {broker} --role developer"
    (folder / "aws-config").write_text(f"[default]\ncredential_process = {helper}\n")
    yield {}


DOORS = {"credential_process": credential_process}


@pytest.fixture(params=["good", *CODES])
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def who(case: str, alice: dict[str, str], mallory: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Somebody to whom the case happens."""
    return {
        "denied": mallory,
        "no ticket": {**alice, "KRB5CCNAME": f"FILE:{tmp_path}/none"},
        "clock skew": {**alice, "LD_PRELOAD": FAKETIME, "FAKETIME": "-2h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
    }.get(case, alice)


@pytest.mark.parametrize("door", DOORS)
def test_every_tool_at_every_door(house: House, who: dict[str, str], tmp_path: Path, door: str, case: str) -> None:
    broker = "http://localhost:1" if case == "broker down" else house.broker.url
    with DOORS[door](who, broker, tmp_path) as more:
        env = {**aws_tools.neighbours(tmp_path, house.sts.url), **who, **more, "DOOR": door}
        found = aws_tools.run(env, tmp_path, house.sts.url)
    if case == "good":
        assert {name: done.stdout.strip() for name, done in found.items()} == dict.fromkeys(aws_tools.TOOLS, ARN)
        return
    rows = documented(door)
    assert {tool.removesuffix(BY_NAME) for tool in rows} == set(found)
    for tool, (shows, status) in rows.items():
        done = found[tool.removesuffix(BY_NAME)]
        assert (done.returncode, done.stdout) == (status, ""), (tool, done)
        assert re.search(pattern(shows, CODES[case]), done.stderr), (tool, shows, done.stderr)
