"""Revokes without pause, is killed at some moment, and looks whether all that was acknowledged is there: so many times.

    python -m tests.fakes.revoke_and_die FOLDER TIMES

Prints how many revocations were acknowledged in each life. A process of its own, so that it can fork.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

from broker.core.clock import SystemClock
from broker.keys.hierarchy import KeyHierarchy
from broker.revocation.epochs import Epochs
from broker.revocation.ledger import Kind, Subject
from tests.fakes.epochs import ledger_file

KEYS = KeyHierarchy(master=b"m" * 32)


async def revoke_for_ever(folder: Path, acknowledge: int, life: int) -> None:
    epochs = Epochs(file=ledger_file(folder, KEYS), spread=None, clock=SystemClock())
    for number in itertools.count():
        user = f"u{life}-{number}@R"
        await epochs.enter([Subject(Kind.USER, user)], by="root@R")
        os.write(acknowledge, user.encode() + b"\n")


def one_life(folder: Path, life: int, lasts: float) -> set[str]:
    """The users whose revocation was acknowledged before the end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        asyncio.run(revoke_for_ever(folder, writer, life))
    os.close(writer)
    time.sleep(lasts)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as said:
        return set(said.read().decode().split())


def main() -> None:
    folder, lives = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(7)  # noqa: S311  # moments, not secrets
    everything: set[str] = set()
    for life in range(lives):
        acknowledged = one_life(folder, life, chance.uniform(0.02, 0.12))
        everything |= acknowledged
        kept = {entry.subject.user for entry in ledger_file(folder, KEYS).read()}
        if lost := everything - kept:
            sys.exit(f"life {life}: lost {sorted(lost)}")
        print(len(acknowledged))  # noqa: T201


if __name__ == "__main__":
    main()
