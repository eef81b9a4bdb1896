"""A sink while files are closed and begun under it, and processes are killed in the middle of that."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from broker.audit.signer import jwks_of, signer_of
from broker.audit.verify import verify
from tests.fakes.audit import MASTER

KILLS = 5


def started(tmp_path: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "tests.fakes.record_and_die",
        str(tmp_path / "audit"),
        str(tmp_path / "out"),
        *words,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process


def test_two_processes_that_are_killed_between_segments_leave_nothing_unsent_and_nothing_out_of_order(
    tmp_path: Path,
) -> None:
    chance = random.Random(5)  # noqa: S311  # moments, not secrets
    for _ in range(KILLS):
        both = [started(tmp_path) for _ in range(2)]
        time.sleep(chance.uniform(0.02, 0.2))
        for process in both:
            process.kill()
            process.communicate()
    last = started(tmp_path, "last")
    last.communicate(timeout=60)
    assert last.returncode == 0
    assert len(list((tmp_path / "audit").glob("audit-*.0*.jsonl"))) > 2 * KILLS
    report = verify([tmp_path / "audit"], jwks=jwks_of(signer_of(MASTER)))
    assert report.findings == []
    sent: dict[str, list[int]] = defaultdict(list)
    for line in (tmp_path / "out").read_text().splitlines():
        instance, number = line.split()
        sent[instance].append(int(number))
    # Who starts while another looks for files of the dead takes the next free number, so there may be a third.
    assert len(sent) == report.instances >= 2
    for numbers in sent.values():
        first = list(dict.fromkeys(numbers))
        assert first == [*range(1, len(first) + 1)]
    assert sum(len(set(numbers)) for numbers in sent.values()) == report.records
