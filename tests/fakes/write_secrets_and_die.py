"""Writes versions of secrets until it is killed, and says each one that was acknowledged.

    python -m tests.fakes.write_secrets_and_die STORE

STORE is a directory, or the URL of a Redis.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from redis import asyncio as redis

from broker.secrets.metadata import Details
from broker.secrets.store import Store
from broker.secrets.store_redis import RedisVaultStore
from broker.secrets.store_sqlite import SqliteStore
from tests.fakes.vault import fields, vault_over

PATHS = ("a/one", "a/two", "b/three")


async def main(place: str) -> None:
    store: Store = SqliteStore(directory=Path(place))
    if place.startswith("redis:"):
        store = RedisVaultStore(client=redis.Redis.from_url(place))
    vault = vault_over(store)
    for number in itertools.count(1):
        for path in PATHS:
            text = str(number) * 500
            version = await vault.write(path, fields(value=text, of=path), details=Details(versions_kept=3))
            sys.stdout.write(f"{path} {version} {number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
