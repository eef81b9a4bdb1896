"""Writes versions of secrets until somebody kills it, and writes down each one that was acknowledged; as often as one likes.

    python -m tests.fakes.write_secrets_and_die STORE

STORE is a directory, or the URL of a Redis. Each line of standard input names a file to write down in, and begins one process
more, forked from here where everything is imported already: its number is printed, and an empty line once it is dead.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from redis import asyncio as redis

from broker.core.replicated import Replicas
from broker.secrets.metadata import Details
from broker.secrets.store import Store
from broker.secrets.store_redis import RedisVaultStore
from broker.secrets.store_sqlite import SqliteStore
from tests.fakes.vault import fields, vault_over

PATHS = ("a/one", "a/two", "b/three")


async def write_for_ever(place: str, said: int) -> None:
    store: Store = SqliteStore(directory=Path(place))
    if place.startswith("redis:"):
        store = RedisVaultStore(client=redis.Redis.from_url(place), replicas=Replicas(0))
    vault = vault_over(store)
    for number in itertools.count(1):
        for path in PATHS:
            text = str(number) * 500
            version = await vault.write(path, fields(value=text, of=path), details=Details(versions_kept=3))
            os.write(said, f"{path} {version} {number}\n".encode())


def main(place: str) -> None:
    for line in sys.stdin:
        said = os.open(line.rstrip("\n"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        pid = os.fork()
        if pid == 0:
            asyncio.run(write_for_ever(place, said))
        os.close(said)
        print(pid, flush=True)  # noqa: T201
        os.waitpid(pid, 0)
        print(flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
