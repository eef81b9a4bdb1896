"""What others can read of a process is settled once, at its start: so each test here is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from broker.keys.memory import Noted

PR_GET_DUMPABLE = 3


def run(text: str, **env: str) -> str:
    setting = "import ctypes, os, resource; from broker.keys import memory\n"
    environ = {"PATH": os.environ["PATH"], **env}
    return subprocess.run(
        [sys.executable, "-c", setting + text], env=environ, capture_output=True, text=True, check=True
    ).stdout


def test_a_process_that_keeps_out_of_core_files_is_undumpable_and_says_so_to_the_kernel() -> None:
    found = run(
        "memory.keep_out_of_core_files()\n"
        f"print(ctypes.CDLL(None).prctl({PR_GET_DUMPABLE}), resource.getrlimit(resource.RLIMIT_CORE),"
        "open('/proc/self/coredump_filter').read())"
    )
    assert found.split("\n")[0] == "0 (0, 0) 00000000"


def test_wiped_values_are_gone_from_the_kernels_view_and_there_for_the_program() -> None:
    found = run(
        "memory.wipe_environment({'CANARY', 'ABSENT', 'EMPTY'})\n"
        "print(open('/proc/self/environ', 'rb').read(), os.environ['CANARY'], os.environ['CANARY_ISLANDS'])",
        CANARY="tweet",
        CANARY_ISLANDS="Tenerife",
        EMPTY="",
    )
    shown, *kept = found.rsplit(" ", 2)
    assert "tweet" not in shown
    assert r"CANARY=\x00\x00\x00\x00\x00\x00" in shown
    assert "CANARY_ISLANDS=Tenerife" in shown
    assert " ".join(kept).split() == ["tweet", "Tenerife"]


def test_what_was_looked_at_is_noted_and_what_was_only_listed_is_not() -> None:
    noted = Noted({"A": "1", "B": "2", "C": "3"})
    assert noted["A"] == "1"
    assert noted.get("B") == "2"
    assert noted.get("D") is None
    assert sorted(noted) == ["A", "B", "C"]
    assert noted.read == {"A", "B"}
