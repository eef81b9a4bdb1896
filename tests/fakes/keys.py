"""Replicas of one keyring in this process: instances of one or several hosts, on a real disk and beside a real Redis."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from redis import asyncio as redis

from broker.keys.courier import Courier
from broker.keys.duties import Duties
from broker.keys.master.local import LocalMaster
from broker.keys.master.port import MasterKey, MasterUnavailable
from broker.keys.replica import Pace, Replica
from broker.keys.ringfile import RingFile
from broker.keys.rotation import Schedule
from tests.fakes.audit import SetClock

MASTER = bytes(range(32))
SCHEDULE = Schedule(master=timedelta(days=90), data=timedelta(days=30), session=timedelta(hours=24))
AT_ONCE = Pace(look=timedelta(0), ripe=timedelta(0), grace=timedelta(0), reseal=timedelta(0))


@dataclass
class Instance:
    """One replica with what it does, and what it told."""

    replica: Replica
    duties: Duties
    clock: SetClock
    told: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)

    @classmethod
    def of(  # each is said by name
        cls,
        directory: Path,
        *,
        clock: SetClock,
        client: redis.Redis | None = None,
        masters: Sequence[bytes] = (MASTER,),
        master: MasterKey | None = None,
        pace: Pace = AT_ONCE,
    ) -> Instance:
        name = secrets.token_hex(4)
        replica = Replica(
            instance=name,
            file=RingFile(directory=directory),
            courier=Courier(client=client, instance=name) if client else None,
            master=master or LocalMaster(keys=masters),
            own=() if master else masters,
            patience=timedelta(hours=24),
            clock=clock,
            pace=pace,
        )
        made = cls(replica, Duties(replica=replica, schedule=SCHEDULE), clock)

        async def tell(what: str, details: Mapping[str, object]) -> None:
            made.told.append((what, details))

        made.duties.tell = tell
        return made

    async def open(self) -> Instance:
        await self.replica.open()
        await self.duties.begin()
        self.replica.all_are_registered()
        return self

    async def look(self, times: int = 1) -> Instance:
        for _ in range(times):
            # A beat is later than the one before it.
            self.clock.time += timedelta(milliseconds=1)
            await self.replica.look()
            await self.duties.do()
        return self


class Moody:
    """A master key that lies elsewhere, and may be away; its next version comes when it is told to rotate."""

    def __init__(self, *keys: bytes) -> None:
        self._keys = list(keys)
        self.away = False
        self.asked = 0

    id = "elsewhere"

    @property
    def _local(self) -> LocalMaster:
        self.asked += 1
        if self.away:
            raise MasterUnavailable("it is away")
        return LocalMaster(keys=self._keys)

    async def wrap(self, key: bytes, *, context: bytes) -> bytes:
        return await self._local.wrap(key, context=context)

    async def unwrap(self, blob: bytes, *, context: bytes) -> bytes:
        return await self._local.unwrap(blob, context=context)

    async def is_newest(self, blob: bytes) -> bool:
        return await self._local.is_newest(blob)

    async def rotate(self) -> None:
        assert self._local
        self._keys.insert(0, bytes([len(self._keys)]) * 32)

    async def ping(self) -> str | None:
        return "it is away" if self.away else None

    async def close(self) -> None:
        pass
