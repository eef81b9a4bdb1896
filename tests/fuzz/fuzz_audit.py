"""The audit verifier, as an auditor runs it: on whatever files there are, its verdict; and records that we did not write are bad.

An input is the record file, and after a NUL byte, which no record holds, the checkpoints beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from broker.admin.cli import main as admin
from broker.audit.chain import BrokenRecord, Head, check, open_checkpoint
from broker.keys.signing import KeySet
from tests.fuzz import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).parents[1] / "vectors" / "audit" / "v1"
INSTANCE = "broker.example.com-1"
JWKS = VECTORS / "jwks.json"
KEYS = KeySet(jwks=json.loads(JWKS.read_bytes()))
RECORDS = (VECTORS / "records" / f"audit-{INSTANCE}.jsonl").read_bytes()
CHECKPOINTS = (VECTORS / "records" / f"checkpoints-{INSTANCE}.jws").read_bytes()
FIRST = RECORDS.partition(b"\n")[0]
GOOD, BAD = 0, 1
# One for all runs: click remembers every stream that it ever wrote to.
NOWHERE = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  open as long as the process

FOLDER = scratch.folder()


def seeds() -> Iterator[bytes]:
    lines, statements = RECORDS.splitlines(keepends=True), CHECKPOINTS.splitlines(keepends=True)
    yield RECORDS + b"\0" + CHECKPOINTS
    yield lines[0] + b"\0" + statements[0]
    yield lines[0] + lines[1][:-7] + b"\0" + statements[0]
    yield lines[0]
    yield b"\0" + statements[0]
    yield b'{"instance":"host-1","kid":"k","prev":"0","seq":1,"sig":"s"}\n'
    yield statements[0].strip()


def one_input(data: bytes) -> None:
    judge_line(data)
    judge_checkpoint(data)
    records, _, checkpoints = data.partition(b"\0")
    FOLDER.joinpath(f"audit-{INSTANCE}.jsonl").write_bytes(records)
    FOLDER.joinpath(f"checkpoints-{INSTANCE}.jws").write_bytes(checkpoints)
    if verdict() == GOOD:
        # Half a record at the end is what a crash leaves, and is said.
        assert RECORDS.startswith(records[: records.rfind(b"\n") + 1])


def verdict() -> int:
    with contextlib.redirect_stdout(NOWHERE), contextlib.redirect_stderr(NOWHERE):
        try:
            admin.main(["audit", "verify", str(FOLDER), "--jwks", str(JWKS)], standalone_mode=False)
        except SystemExit as ended:
            assert ended.code in {GOOD, BAD}
            return int(ended.code)
    raise AssertionError("no verdict")


def judge_line(line: bytes) -> None:
    try:
        check(line, after=Head(), keys=KEYS)
    except BrokenRecord:
        return
    assert line == FIRST


def judge_checkpoint(data: bytes) -> None:
    try:
        position = open_checkpoint(data.decode("ascii", "replace"), keys=KEYS)
    except BrokenRecord:
        return
    assert data in CHECKPOINTS.splitlines()
    assert position.instance == INSTANCE
