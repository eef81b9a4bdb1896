"""The AWS tools at each door of the user's side: what works, and what a user sees who has no luck.

docs/tools.md has the table; here it is measured.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.conftest import House
from tests.fakes import aws_tools
from tests.fakes.broker import PROGRAMS
from tests.fakes.clockwork import clockwork
from tests.fakes.relay import Relay
from tests.fakes.served import serving

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
ARN = "arn:aws:sts::111122223333:assumed-role/Developer/alice@EXAMPLE.COM"
# And how the variables begin that `zerotrust serve` prints for it.
ENDPOINTS = {"container": "AWS_CONTAINER_", "IMDSv2": "AWS_EC2_"}
BY_NAME = " by name"
# By the door and the tool's name, and what the endpoint said.
Seen = tuple[dict[str, dict[str, subprocess.CompletedProcess[str]]], str]
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


def assert_as_documented(door: str, case: str, found: Mapping[str, subprocess.CompletedProcess[str]]) -> None:
    if case == "good":
        assert {name: done.stdout.strip() for name, done in found.items()} == dict.fromkeys(aws_tools.TOOLS, ARN)
        return
    rows = documented(door)
    assert {tool.removesuffix(BY_NAME) for tool in rows} == set(found)
    for tool, (shows, status) in rows.items():
        done = found[tool.removesuffix(BY_NAME)]
        assert (done.returncode, done.stdout) == (status, ""), (tool, done)
        assert re.search(pattern(shows, CODES[case]), done.stderr), (tool, shows, done.stderr)


def test_every_tool_by_credential_process(house: House, who: dict[str, str], tmp_path: Path, case: str) -> None:
    broker = "http://localhost:1" if case == "broker down" else house.broker.url
    helper = f"{PROGRAMS / 'zerotrust'} credential-process --broker {broker} --role developer"
    (tmp_path / "aws-config").write_text(f"[default]\ncredential_process = {helper}\n")
    env = {**aws_tools.neighbours(tmp_path, house.sts.url), **who, "DOOR": "credential_process"}
    assert_as_documented("credential_process", case, aws_tools.run(env, tmp_path, house.sts.url))


def happen(case: str, cache: Path, mallory: Mapping[str, str], clock: Mapping[str, str], relay: Relay) -> None:
    """What befalls an endpoint that has served well. All but one with another's ticket, for what was kept is alice's."""
    if case == "no ticket":
        cache.unlink()
    elif case != "good":
        shutil.copy(mallory["KRB5CCNAME"].removeprefix("FILE:"), cache)
    if case == "broker down":
        relay.close()
    if case == "clock skew":
        Path(clock["CLOCKWORK"]).write_bytes((-7200).to_bytes(8, sys.byteorder, signed=True))


def served(case: str, house: House, alice: dict[str, str], mallory: dict[str, str], folder: Path) -> Seen:
    """What each tool sees at each endpoint, and the endpoint's own words."""
    cache, clock = folder / "cache", clockwork(folder)
    shutil.copy(alice["KRB5CCNAME"].removeprefix("FILE:"), cache)
    with Relay(house.port) as relay:
        own = {"KRB5CCNAME": f"FILE:{cache}", "ZEROTRUST_BROKER_URL": f"http://localhost:{relay.port}"}
        env = {**alice, **own, **clock, "XDG_RUNTIME_DIR": str(folder)}
        with serving(env, "--role", "developer", "--imds") as running, ThreadPoolExecutor(2) as pool:
            happen(case, cache, mallory, clock, relay)
            common = aws_tools.neighbours(folder, house.sts.url)
            found = pool.map(
                lambda door: aws_tools.run(at(door, running.environment, common), folder, house.sts.url), ENDPOINTS
            )
            results = dict(zip(ENDPOINTS, found, strict=True))
            running.process.terminate()
            return results, running.process.stderr.read() if running.process.stderr else ""


@pytest.mark.timeout(300)  # forty starts of a tool
def test_every_tool_at_the_endpoints_of_serve(
    house: House, alice: dict[str, str], mallory: dict[str, str], tmp_path: Path
) -> None:
    """Two cases at a time: in most of them the tools wait, between one try and the next."""
    folders = {case: tmp_path / case.replace(" ", "-") for case in ("good", *CODES)}
    for folder in folders.values():
        folder.mkdir()
    with ThreadPoolExecutor(2) as pool:
        seen = pool.map(lambda case: served(case, house, alice, mallory, folders[case]), folders)
        for case, (results, said) in zip(folders, seen, strict=True):
            for door, found in results.items():
                assert_as_documented(door, case, found)
            assert re.search(pattern("LINE", CODES[case]), said) if case in CODES else not said


def at(door: str, printed: Mapping[str, str], common: Mapping[str, str]) -> dict[str, str]:
    """An environment with those of the printed variables that are one door's."""
    own = {name: value for name, value in printed.items() if name.startswith(ENDPOINTS[door])}
    disabled = {"AWS_EC2_METADATA_DISABLED": str(door != "IMDSv2").lower()}
    return {**common, **disabled, **own, "DOOR": door}
