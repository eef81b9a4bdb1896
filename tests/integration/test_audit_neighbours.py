"""Two audit logs on two hosts hear of each other through a real Redis, and of nothing worse than silence when it is away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from redis import asyncio as redis

from broker.assembly.neighbours import RedisCourier
from broker.audit.log import AuditLog
from broker.audit.neighbours import Neighbours
from broker.audit.signer import jwks_of, signer_of
from broker.audit.verify import verify
from broker.keys.signing import KeySet
from tests.fakes.audit import MASTER, SetClock, an_event
from tests.fakes.redis import RedisServer

HASH = "zerotrust:{shared}:audit:checkpoints"


async def test_logs_of_two_hosts_record_each_other_through_redis(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jwks, hosts = jwks_of(signer_of(MASTER)), ("one", "two")
    clients = [redis.Redis.from_url(redis_server.url_with_password, socket_timeout=1) for _ in hosts]
    logs: list[tuple[AuditLog, Neighbours]] = []
    for host, client in zip(hosts, clients, strict=True):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        log = AuditLog(directory=tmp_path / host, signer=signer_of(MASTER), clock=SetClock(), observers=[])
        courier = RedisCourier(client=client)
        keys = KeySet(jwks=jwks)
        logs.append(
            (log, Neighbours(audit=log, directory=tmp_path / host, keys=keys, courier=courier, clock=SetClock()))
        )
        await log.open()
    await clients[0].hset(HASH, mapping={"evil": b"\xff\x00", "empty": b""})
    (one, from_one), (_, from_two) = logs
    await one.record(an_event())
    await one.checkpoint()
    await from_one.look()
    await from_two.look()
    (said,) = [
        record["neighbour"]
        for record in map(json.loads, (tmp_path / "two" / "audit-two-1.jsonl").read_bytes().splitlines())
        if record["event"] == "neighbour_checkpoint"
    ]
    assert (said["instance"], said["size"], said["via"]) == ("one-1", 2, "redis")
    redis_server.stop()
    await from_two.look()
    redis_server.restart()
    redis_server.cli("SET", HASH, "of another type")
    await from_two.look()
    redis_server.cli("DEL", HASH)
    for log, _ in logs:
        await log.close()
    for client in clients:
        await client.aclose()
    assert verify([tmp_path / host for host in hosts], jwks=jwks).findings == []
