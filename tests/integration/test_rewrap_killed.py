"""Rewrapping killed at any moment, and by several at once: the document opens after every kill, and the next run finishes."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.bao import BaoError, BaoServer
from tests.fakes.certificates import server_certificate
from tests.fakes.documents import DOCUMENT, PLACE, Site, site
from tests.fakes.kubernetes import FakeKubernetes

ROOT = Path(__file__).parents[2]
# Five begin at once and are killed one after the other, four times: at twenty moments, among each other.
ROUNDS, AT_ONCE = 4, 5
# Seconds within which each of them is killed; a run takes a fifth of a second when it is alone.
WITHIN = 0.4


@pytest.fixture
def sealed(bao: BaoServer, tmp_path: Path) -> Iterator[Site]:
    certificate = server_certificate(tmp_path / "kubernetes", "ecdsa-sha256")
    with FakeKubernetes(certificate) as cluster, site(bao, cluster, tmp_path) as made:
        made.fresh()
        made.documents("sealer").seal(DOCUMENT, PLACE, replace=False, validate=True)
        yield made
        bao.renew()


@pytest.fixture
def nursery(sealed: Site) -> Iterator[subprocess.Popen[str]]:
    access = json.dumps(dataclasses.asdict(sealed.access("documents-rewrap")), default=str)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.rewrap_until_killed", access],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def begun(nursery: subprocess.Popen[str]) -> int:
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write("one more\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


def opened(sealed: Site) -> bytes:
    """The document. Where OpenBao 2.7.2 was left while it rotated, it may have forgotten a key that its storage has."""
    for _ in range(20):
        try:
            return sealed.opened()
        except BaoError as error:
            if not str(error).startswith("500") and "no such key version" not in str(error):
                raise
            time.sleep(0.1)
    sealed.bao.seal()
    sealed.bao.unseal()
    return sealed.opened()


def test_rewraps_killed_at_twenty_random_points_lose_nothing_and_are_finished_by_the_next(
    sealed: Site, nursery: subprocess.Popen[str]
) -> None:
    chance = random.Random(20261122)  # noqa: S311  # the moments of the kills
    for _ in range(ROUNDS):
        for pid in [begun(nursery) for _ in range(AT_ONCE)]:
            time.sleep(chance.uniform(0, WITHIN))
            os.kill(pid, signal.SIGKILL)  # of one that ended by itself there is no process
            assert opened(sealed) == DOCUMENT
    assert sealed.key()["latest_version"] > ROUNDS
    # As docs/transit.md says: what OpenBao 2.7.2 did not keep of rotations that were left, it may take for there until then.
    sealed.bao.seal()
    sealed.bao.unseal()
    sealed.documents("documents-rewrap").rewrap([PLACE], retire=True)
    assert sealed.opened() == DOCUMENT
    version = int(sealed.stored().split(":")[1].removeprefix("v"))
    assert sealed.key()["latest_version"] == sealed.key()["min_decryption_version"] == version
    assert sealed.documents("documents-app").unseal(PLACE, ()).encode() == DOCUMENT
