"""What a start does with a log that somebody wrote into while no broker ran."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.audit.log import AuditLog
from broker.audit.regrow import regrown
from broker.audit.signer import signer_of
from broker.audit.tree import LOST, Frontier
from broker.core.errors import AuditUnavailable
from tests.fakes.audit import MASTER, Directory, SetClock, an_event


def log_of(directory: Directory) -> AuditLog:
    return AuditLog(directory=directory.path, signer=signer_of(MASTER), clock=SetClock(), observers=[])


async def a_log(directory: Directory) -> Path:
    log = log_of(directory)
    await log.open()
    await log.record(an_event(1))
    await log.close()
    (path,) = directory.path.glob("audit-*.jsonl")
    return path


def unsigned(path: Path, **members: object) -> bytes:
    instance = path.name.removeprefix("audit-").removesuffix(".jsonl")
    return json.dumps({"instance": instance, "seq": 999_999_999_999, **members}).encode() + b"\n"


@pytest.mark.parametrize("members", [{}, {"kid": signer_of(MASTER).kid}], ids=["by nobody", "in our key's name"])
async def test_a_record_that_nobody_signed_is_not_gone_on_from(
    directory: Directory, members: dict[str, object]
) -> None:
    path = await a_log(directory)
    before = path.read_bytes()
    path.write_bytes(before + unsigned(path, **members))
    log = log_of(directory)
    await log.open()
    with pytest.raises(
        AuditUnavailable, match="not signed by the key that it names; run `zerotrust-admin audit verify`"
    ):
        await log.record(an_event(2))
    path.rename(path.with_name("kept"))
    await log.record(an_event(2))
    assert json.loads(path.read_bytes().split(b"\n")[0])["seq"] == len(before.splitlines()) + 1
    await log.close()


@pytest.mark.parametrize("suffix", [".999999999999.jsonl", ".jsonl.1"])
async def test_a_file_beside_it_that_nobody_signed_moves_the_log_nowhere(directory: Directory, suffix: str) -> None:
    path = await a_log(directory)
    records = len(path.read_bytes().splitlines())
    path.with_name(path.name.removesuffix(".jsonl") + suffix).write_bytes(unsigned(path))
    log = log_of(directory)
    await log.open()
    assert json.loads(path.read_bytes().splitlines()[records])["seq"] == records + 1
    await log.close()


def test_a_number_far_away_takes_no_longer_than_one_nearby() -> None:
    tree = Frontier()
    for size in range(70):
        for lost in (0, 1, 2, 3, 29, 64):
            expected = tree
            for _ in range(lost):
                expected = expected.with_leaf(LOST)
            assert regrown(tree, [], size=size + lost) == expected
        tree = tree.with_leaf(bytes([size]) * 32)
    assert regrown(tree, [], size=10**15).size == 10**15
