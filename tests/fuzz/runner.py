"""Runs a target in a process of its own, and says how far it came and what it found.

A process of its own, because a finding ends it, because memory is limited a process at a time, and because instrumented code is
slow: no other test shall run with it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in Path(__file__).parent.glob("fuzz_*.py"))

# Bytes. As long as the longest seed, a file of nine audit records; the fuzzer works its way up to it.
LENGTH_MAX = 12_288
# MiB for the whole process, of which Python and the instrumented product are 60 to 150.
MEMORY_MAX = 512
# Seconds by the wall clock: what hangs without using the processor. What uses it is found by the child itself, sooner.
HANG = 30

_FINDING = "finding-"
_NEW = re.compile(r"#\d+\s+(?:INITED|NEW)\s+cov: (\d+) ft: (\d+)")
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_PEAK = re.compile(r"stat::peak_rss_mb:\s*(\d+)")


@dataclass(frozen=True)
class Outcome:
    """What came of one run. ``grew_until`` is when coverage grew for the last time, in seconds from the start."""

    target: str
    status: int
    seconds: float
    executions: int
    branches: int
    grew_until: float
    peak_mib: int
    finding: bytes | None
    output: str

    @property
    def is_clean(self) -> bool:
        return self.status == 0 and self.finding is None

    def __str__(self) -> str:
        return (
            f"{self.target:14} {self.seconds:6.0f} s {self.executions:10} inputs {self.branches:6} branches"
            f" (the last new one after {self.grew_until:.0f} s) {self.peak_mib:5} MiB"
            f"  {'clean' if self.is_clean else 'FOUND SOMETHING'}"
        )

    def report(self) -> str:
        """The input that found something, in hex, and what the target said to it."""
        finding = "" if self.finding is None else self.finding.hex()
        again = f"python -m tests.fuzz {self.target} --input HEX"
        return f"{self.output}\nstatus {self.status}; the input (again with: {again}):\n{finding}"


def run(target: str, *, seconds: int, seed: int, corpus: Path | None = None) -> Outcome:
    """Fuzz for some seconds, or until something is found.

    Args:
        target: One of ``TARGETS``, or the whole name of a module.
        seconds: How long; the start, a second or two, comes on top.
        seed: Of the fuzzer's chance.
        corpus: Where interesting inputs are kept for the next run; None keeps none.
    """
    with tempfile.TemporaryDirectory(prefix="zerotrust-fuzz-") as temporary:
        folder = Path(temporary)
        found = corpus or folder / "found"
        found.mkdir(parents=True, exist_ok=True)
        # libFuzzer keeps what it finds in the first of the folders that it is given.
        return _watch(target, folder, [f"-max_total_time={seconds}", f"-seed={seed}", str(found), str(_seeds(folder))])


def replay(target: str, data: bytes) -> Outcome:
    """Give a target this one input."""
    with tempfile.TemporaryDirectory(prefix="zerotrust-fuzz-") as temporary:
        folder = Path(temporary)
        file = folder / "input"
        file.write_bytes(data)
        return _watch(target, folder, [str(file)])


def _seeds(folder: Path) -> Path:
    seeds = folder / "seeds"
    seeds.mkdir(exist_ok=True)
    return seeds


def _limits(folder: Path) -> list[str]:
    return [
        f"-max_len={LENGTH_MAX}",
        f"-timeout={HANG}",
        f"-rss_limit_mb={MEMORY_MAX}",
        f"-artifact_prefix={folder}/{_FINDING}",
        "-print_final_stats=1",
    ]


def _watch(target: str, folder: Path, options: Sequence[str]) -> Outcome:
    module = f"tests.fuzz.fuzz_{target}" if target in TARGETS else target
    command = [sys.executable, "-m", "tests.fuzz.child", module, str(_seeds(folder)), *_limits(folder), *options]
    started, grew_until, branches, lines = time.monotonic(), 0.0, 0, []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:
        for line in child.stdout or ():
            if grown := _NEW.search(line):
                branches, before = int(grown[1]), branches
                grew_until = time.monotonic() - started if branches > before else grew_until
            else:
                lines.append(line)
    output = "".join(lines)
    findings = sorted(folder.glob(f"{_FINDING}*"))
    return Outcome(
        target=target,
        status=child.returncode,
        seconds=time.monotonic() - started,
        executions=_number(_EXECUTED, output),
        branches=branches,
        grew_until=grew_until,
        peak_mib=_number(_PEAK, output),
        finding=findings[0].read_bytes() if findings else None,
        output=output,
    )


def _number(pattern: re.Pattern[str], output: str) -> int:
    found = pattern.search(output)
    return int(found[1]) if found else 0
