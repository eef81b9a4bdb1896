"""What a user waits for: ``zerotrust credential-process`` against ``curl --negotiate`` with the same ticket and the same broker.

Both start, ask the same question and print the answer: over http, over the broker's socket, over https. A fourth helper asks an
agent of this machine, and is compared with curl at the broker over http: what somebody without an agent would wait for. An
interpreter that does nothing shows how much of the helper's time is Python's own start.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Cores, on_core
from bench.ratios import quantile
from bench.row import Part, compared
from bench.stage import ROLE, USER, Stage
from tests.fakes import users

_PROGRAM = Path(sys.executable).with_name("zerotrust")
_WARM_UP = 3  # Bytecode written, files in the page cache, the agent asked once.
_PATIENCE = 10.0  # seconds; the helper's own promise

_TAIL = 0.95

HTTP, SOCKET, HTTPS, AGENT = "http", "socket", "https", "agent"
# What a user waits for, and how much longer than with curl it may take.
_GOALS = {
    HTTP: ("helper over http on loopback, against curl --negotiate: wall time", 1.75),
    SOCKET: ("helper over the broker's socket, against curl --negotiate --unix-socket", 1.75),
    HTTPS: ("helper over https, against curl --negotiate over https", 2.10),
    AGENT: ("helper with an agent, against curl --negotiate over http without one", 1.20),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Wall time in milliseconds from starting a process to having its exit and its output."""

    helper_ms: float
    curl_ms: float
    interpreter_ms: float


@dataclass(frozen=True, slots=True)
class _Way:
    """Two commands for one question, and whose they are; ``uid`` None is the one who measures."""

    helper: Sequence[str]
    curl: Sequence[str]
    env: Mapping[str, str]
    uid: int | None = None


def measure(stage: Stage, cores: Cores, *, pairs: int) -> dict[str, list[Pair]]:
    """Run the commands in turn, by each way.

    Raises:
        subprocess.CalledProcessError: One of them failed.
    """
    interpreter = [str(Path(sys.executable).resolve()), "-I", "-S", "-c", "pass"]
    with _agent(stage) as by_agent, on_core(cores.load):
        ways = _to_the_broker(stage) | {AGENT: by_agent}
        found: dict[str, list[Pair]] = {name: [] for name in ways}
        for _ in range(_WARM_UP):
            for way in ways.values():
                _credentials(way.helper, way)
                _credentials(way.curl, way)
        for _ in range(pairs):
            for name, way in ways.items():
                found[name].append(
                    Pair(
                        helper_ms=_credentials(way.helper, way),
                        curl_ms=_credentials(way.curl, way),
                        interpreter_ms=_run(interpreter, way)[0],
                    )
                )
        return found


def part(pairs: Mapping[str, Sequence[Pair]]) -> Part:
    """The rows of goal 5."""
    rows = [
        compared(
            5,
            what,
            "ms",
            ours=[pair.helper_ms for pair in pairs[way]],
            peer=[pair.curl_ms for pair in pairs[way]],
            goal=goal,
        )
        for way, (what, goal) in _GOALS.items()
    ]
    start = statistics.median(pair.interpreter_ms for pair in pairs[HTTP])
    times = {way: [pair.helper_ms for pair in pairs[way]] for way in _GOALS}
    said = ", ".join(f"{way} {quantile(each, 0.5):.1f} and {quantile(each, _TAIL):.1f}" for way, each in times.items())
    remarks = [
        f"{len(pairs[HTTP])} pairs of helper and curl for each way.",
        f"Starting `python -I -S` and nothing else took {start:.1f} ms.",
        f"The helper's median and 95th percentile in ms: {said}.",
    ]
    return Part(rows, {way: [dataclasses.asdict(pair) for pair in those] for way, those in pairs.items()}, remarks)


def _to_the_broker(stage: Stage) -> dict[str, _Way]:
    # Nothing of the caller's environment, so that PYTHONDONTWRITEBYTECODE or a proxy cannot take part.
    env = {"PATH": os.environ["PATH"], "HOME": str(stage.folder), "ZEROTRUST_HOST": "localhost", **stage.client}
    trusted = str(stage.certificate)

    def helper(url: str, *more: str) -> list[str]:
        return [str(_PROGRAM), "credential-process", "--broker", url, "--role", ROLE, *more]

    return {
        HTTP: _Way(helper(stage.broker.url), _curl(stage.broker.url), env),
        SOCKET: _Way(
            helper(f"unix:{stage.socket}"), _curl("http://localhost", "--unix-socket", str(stage.socket)), env
        ),
        HTTPS: _Way(helper(stage.https, "--ca-file", trusted), _curl(stage.https, "--cacert", trusted), env),
    }


def _curl(url: str, *more: str) -> list[str]:
    command = ["curl", "-sSf", "--negotiate", "-u", ":", "-H", "X-Zerotrust-Request: 1", *more]
    return [*command, "-H", "Content-Type: application/json", "-d", json.dumps({"role": ROLE}), f"{url}/v1/credentials"]


@contextlib.contextmanager
def _agent(stage: Stage) -> Iterator[_Way]:
    """An agent for all users, where root measures, and a user of it; otherwise one's own."""
    is_root = os.geteuid() == 0
    uid = users.ALICE if is_root else None
    conf, cache, socket = (stage.folder / name for name in ("krb5.conf", f"krb5cc_{os.geteuid()}", "agent.sock"))
    shutil.copy(stage.realm.folder / "krb5.conf", conf)
    conf.chmod(0o644)
    if uid is not None:
        cache = stage.folder / f"krb5cc_{uid}"
    ticket = stage.realm.kinit(USER, cache)["KRB5CCNAME"]
    with users.installed() as library:
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(library),
            "KRB5_CONFIG": str(conf),
            "KRB5CCNAME": ticket,
            "ZEROTRUST_BROKER_URL": stage.broker.url,
            "ZEROTRUST_AGENT": str(socket),
        }
        # An environment of its own, as the other helper's: that may lie where another user cannot read it.
        place = library / "environment"
        subprocess.run([users.PYTHON, "-m", "venv", "--without-pip", place], check=True)
        program = place / "bin" / "zerotrust"
        shutil.copy(library / "zerotrust_kerberos" / "__main__.py", program)
        helper = [str(place / "bin" / "python"), str(program), "credential-process", "--role", ROLE]
        subprocess.run([users.PYTHON, "-m", "compileall", "-q", library], check=True)
        if uid is not None:
            os.chown(cache, uid, uid)
            subprocess.run(["chmod", "-R", "a+rX", library], check=True)
        with users.agent(env, path=socket):
            yield _Way(helper, _curl(stage.broker.url), env, uid)


def _credentials(command: Sequence[str], way: _Way) -> float:
    milliseconds, output = _run(command, way)
    if not json.loads(output)["AccessKeyId"].startswith("ASIA"):
        raise ValueError(f"{command[0]} printed no temporary credentials")
    return milliseconds


def _run(command: Sequence[str], way: _Way) -> tuple[float, bytes]:
    started = time.perf_counter()
    done = subprocess.run(
        command, env=way.env, stdout=subprocess.PIPE, check=True, timeout=_PATIENCE, user=way.uid, group=way.uid
    )
    return (time.perf_counter() - started) * 1e3, done.stdout
