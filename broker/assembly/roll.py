"""What people see of their own: notes in Redis for all instances that share it, or in this process."""

from __future__ import annotations

from dataclasses import dataclass

from redis import asyncio as redis

from broker.authn.roll import Roll
from broker.authn.roll_store import MemoryStore, RedisStore
from broker.core.clock import Clock
from broker.issuing.uses import Uses
from broker.keys.hierarchy import KeyHierarchy, Use


@dataclass(frozen=True, slots=True)
class Notes:
    """The roll, and who writes into it beside the way."""

    roll: Roll
    uses: Uses


def notes_of(client: redis.Redis | None, *, hierarchy: KeyHierarchy, clock: Clock) -> Notes:
    """Both of them."""
    roll = Roll(
        store=MemoryStore(clock=clock) if client is None else RedisStore(client=client, clock=clock),
        envelope=hierarchy.envelope(Use.ROLL_SEAL),
        name_key=hierarchy.derive(Use.ROLL_NAME),
        clock=clock,
    )
    return Notes(roll=roll, uses=Uses(roll=roll, clock=clock))
