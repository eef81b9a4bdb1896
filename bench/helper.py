"""What a user waits for: ``zerotrust credential-process`` against ``curl --negotiate`` with the same ticket and the same broker.

Both start, read the ticket cache, ask the same question and print the answer. A third command, an interpreter that does
nothing, shows how much of the helper's time is Python's own start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Cores, on_core
from bench.stage import ROLE, Stage

_PROGRAM = Path(sys.executable).with_name("zerotrust")
_WARM_UP = 3  # Bytecode written, files in the page cache.
_PATIENCE = 10.0  # seconds; the helper's own promise


@dataclass(frozen=True, slots=True)
class Pair:
    """Wall time in milliseconds from starting a process to having its exit and its output."""

    helper_ms: float
    curl_ms: float
    interpreter_ms: float


def measure(stage: Stage, cores: Cores, *, pairs: int) -> list[Pair]:
    """Run the commands in turn.

    Raises:
        subprocess.CalledProcessError: One of them failed.
    """
    # Nothing of the caller's environment, so that PYTHONDONTWRITEBYTECODE or a proxy cannot take part.
    env = {"PATH": os.environ["PATH"], "HOME": str(stage.folder), **stage.client}
    helper = [str(_PROGRAM), "credential-process", "--broker", stage.broker.url, "--role", ROLE]
    curl = ["curl", "-sSf", "--negotiate", "-u", ":", "-H", "X-Zerotrust-Request: 1"]
    curl += ["-H", "Content-Type: application/json", "-d", json.dumps({"role": ROLE})]
    curl.append(f"{stage.broker.url}/v1/credentials")
    interpreter = [str(Path(sys.executable).resolve()), "-I", "-S", "-c", "pass"]
    with on_core(cores.load):
        for _ in range(_WARM_UP):
            _credentials(helper, env)
            _credentials(curl, env)
        return [
            Pair(
                helper_ms=_credentials(helper, env),
                curl_ms=_credentials(curl, env),
                interpreter_ms=_run(interpreter, env)[0],
            )
            for _ in range(pairs)
        ]


def _credentials(command: Sequence[str], env: Mapping[str, str]) -> float:
    milliseconds, output = _run(command, env)
    if not json.loads(output)["AccessKeyId"].startswith("ASIA"):
        raise ValueError(f"{command[0]} printed no temporary credentials")
    return milliseconds


def _run(command: Sequence[str], env: Mapping[str, str]) -> tuple[float, bytes]:
    started = time.perf_counter()
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True, timeout=_PATIENCE)
    return (time.perf_counter() - started) * 1e3, done.stdout
