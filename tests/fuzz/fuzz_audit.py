"""The audit verifier, as an auditor runs it: on whatever files there are, its verdict; and records that we did not write are bad.

An input is the record file, and after a NUL byte, which no record holds, the checkpoints beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from broker.admin.cli import main as admin
from broker.audit.chain import BrokenRecord, Head, check
from broker.audit.checkpoint import open_checkpoint
from broker.audit.old_checkpoint import open_old_checkpoint
from broker.keys.signing import KeySet
from tests.fuzz import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = Path(__file__).parents[1] / "vectors" / "audit"
VECTORS = ALL / "v3"
INSTANCE = "broker.example.com-1"
JWKS = VECTORS / "jwks.json"
KEYS = KeySet(jwks=json.loads(JWKS.read_bytes()))
RECORDS = (VECTORS / "records" / f"audit-{INSTANCE}.jsonl").read_bytes()
CHECKPOINTS = (VECTORS / "records" / f"checkpoints-{INSTANCE}.notes").read_bytes()
NOTES = [note[:-1].decode() for note in re.findall("zerotrust.*?\n\n— .*?\n\n".encode(), CHECKPOINTS, re.DOTALL)]
OLD = (ALL / "v1" / "records" / f"checkpoints-{INSTANCE}.jws").read_bytes().splitlines()
FIRST = RECORDS.partition(b"\n")[0]
GOOD, BAD = 0, 1
# One for all runs: click remembers every stream that it ever wrote to.
NOWHERE = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  open as long as the process

FOLDER = scratch.folder()


def seeds() -> Iterator[bytes]:
    lines, statements = RECORDS.splitlines(keepends=True), [f"{note}\n".encode() for note in NOTES]
    yield RECORDS + b"\0" + CHECKPOINTS
    yield lines[0] + b"\0" + statements[0]
    yield lines[0] + lines[1][:-7] + b"\0" + statements[0]
    yield lines[0]
    yield b"\0" + statements[0]
    yield b'{"instance":"host-1","kid":"k","prev":"0","seq":1,"sig":"s"}\n'
    yield statements[0][:-1]
    yield OLD[0]


def one_input(data: bytes) -> None:
    judge_line(data)
    judge_checkpoint(data)
    records, _, checkpoints = data.partition(b"\0")
    FOLDER.joinpath(f"audit-{INSTANCE}.jsonl").write_bytes(records)
    FOLDER.joinpath(f"checkpoints-{INSTANCE}.notes").write_bytes(checkpoints)
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
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(BrokenRecord):
        assert open_checkpoint(text, keys=KEYS).instance == INSTANCE
        assert text in NOTES
    with contextlib.suppress(BrokenRecord):
        assert open_old_checkpoint(text, keys=KEYS).instance == INSTANCE
        assert data in OLD
