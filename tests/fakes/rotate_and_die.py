"""Rotates, seals anew and destroys keys without pause beside a real Redis, is killed at some moment, and looks what is left.

    python -m tests.fakes.rotate_and_die FOLDER REDIS_URL TIMES

Hours pass in each life, so that keys are destroyed too. Prints how many versions were made in each. A process of its own, so
that it can fork.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

from redis import asyncio as redis

from broker.keys.hierarchy import Kind, Use
from broker.keys.replica import KeysFailed
from broker.revocation.epochs import Epochs
from broker.revocation.file import LedgerFile
from broker.revocation.ledger import Kind as What
from broker.revocation.ledger import Subject
from broker.revocation.spread import Spread
from tests.fakes.audit import NOON, SetClock
from tests.fakes.keys import MASTER, Instance

NEXT_MASTER = b"n" * 32


async def alive(folder: Path, url: str, life: int) -> tuple[Instance, Epochs, redis.Redis]:
    """An instance with a ledger whose seals follow the keys. Odd lives have a master key more."""
    clock, client = SetClock(NOON + timedelta(days=life)), redis.Redis.from_url(url)
    masters = (NEXT_MASTER, MASTER) if life % 2 else (MASTER, NEXT_MASTER)
    instance = await Instance.of(folder, clock=clock, client=client, masters=masters).open()
    hierarchy = instance.replica.hierarchy
    envelope = hierarchy.envelope(Use.REVOCATION_SEAL)
    spread = Spread(client=client, envelope=envelope, name_key=b"n" * 32, clock=clock)
    epochs = Epochs(file=LedgerFile(directory=folder, envelope=envelope), spread=spread, clock=clock)
    instance.replica.register(epochs)
    await epochs.open()
    return instance, epochs, client


async def rotate_for_ever(folder: Path, url: str, life: int, say: int) -> None:
    instance, epochs, _ = await alive(folder, url, life)
    for number in itertools.count():
        user = f"u{life}-{number}@R"
        await epochs.enter([Subject(What.USER, user)], by="root@R")
        os.write(say, user.encode() + b"\n")
        try:
            await instance.duties.rotate(Kind.DATA)
        except KeysFailed:
            continue
        instance.clock.time += timedelta(hours=3)
        for _ in range(2):
            await instance.look()
            instance.replica.store_needs[epochs.name] = await epochs.reseal()


async def known(folder: Path, url: str, life: int) -> set[str]:
    """Who is revoked, by the disk and by Redis alone; and that everything is sealed by one of the versions there are."""
    instance, epochs, client = await alive(folder, url, life)
    kept = {entry.subject.user for entry in epochs.entries}
    in_redis = Spread(
        client=client,
        envelope=instance.replica.hierarchy.envelope(Use.REVOCATION_SEAL),
        name_key=b"n" * 32,
        clock=instance.clock,
    )
    assert in_redis.forged == 0
    assert await instance.replica.ping() is None
    await instance.look(3)
    held = {version.id for version in instance.replica.opened.ring.versions(Kind.DATA)}
    assert await epochs.reseal() <= held
    # Who was killed before it entered anybody has left nothing that needs a key.
    newest = {instance.replica.hierarchy.sealing(Kind.DATA)} if epochs.entries else set()
    assert await epochs.reseal() == newest
    await epochs.close()
    await instance.replica.close()
    await client.aclose()
    return kept


def one_life(folder: Path, url: str, life: int, lasts: float) -> set[str]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        asyncio.run(rotate_for_ever(folder, url, life, writer))
    os.close(writer)
    time.sleep(lasts)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as said:
        return set(said.read().decode().split())


def main() -> None:
    folder, url, lives = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    chance = random.Random(11)  # noqa: S311  # moments, not secrets
    everything: set[str] = set()
    for life in range(lives):
        acknowledged = one_life(folder, url, life, chance.uniform(0.05, 0.3))
        everything |= acknowledged
        if lost := everything - asyncio.run(known(folder, url, life + 1)):
            sys.exit(f"life {life}: lost {sorted(lost)}")
        print(len(acknowledged))  # noqa: T201


if __name__ == "__main__":
    main()
