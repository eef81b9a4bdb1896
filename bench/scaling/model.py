"""From people to machines: pure arithmetic over what was measured and what is assumed, as docs/scaling.md says it in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

HOUR, DAY, YEAR = 3600, 86_400, 365

# A kept set is fetched anew twenty minutes before its hour is over (broker.cache), so in use it costs a chain every forty.
RENEWED_AFTER_SECONDS = 2400
# What a ticket's use is remembered for (broker.authn.replay).
REMEMBERED_SECONDS = 660
# AWS, IAM User Guide, "IAM and AWS STS quotas": requests a second of one account in one region.
STS_QUOTA = 600
# An event loop that is busy for more of its time lets requests wait for each other.
BUSY = 0.5
# One may be restarted or lost, and the others carry all of it.
SPARE, FEWEST = 1, 2
# Redis beside its data: fragmentation, buffers of clients and replicas.
REDIS_ROOM = 2.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run measured. CPU in microseconds, sizes in bytes, each of one request or one thing.

    Attributes:
        broker_us: Broker's CPU by kind of request: `ticket`, `session`, `miss` (a session's, with a chain of two hops),
            `refused`.
        redis_us: Redis's, by the same kinds.
        audit_bytes: Of records, by the same kinds.
        redis_bytes: Of one `entry`, `token`, `session`, and of an empty one with its instances (`empty`).
        pss_bytes: Of an instance at `rest`, and of one kept `entry` more.
        fleet: Of many instances: see ``fleet.py``.
        machine: Where, when, with what.
    """

    broker_us: Mapping[str, float]
    redis_us: Mapping[str, float]
    audit_bytes: Mapping[str, float]
    redis_bytes: Mapping[str, float]
    pss_bytes: Mapping[str, float]
    fleet: Mapping[str, float]
    machine: Mapping[str, Any]

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """What ``asdict()`` wrote."""
        return cls(**{field.name: members[field.name] for field in fields(cls)})

    def members(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class People:
    """What is assumed of them; each is an option of the command.

    Attributes:
        users: Who may ask at all.
        active: The share of them who work at the same time.
        requests: What one who works asks in a day: one for each `aws` command without an agent.
        peak_hour: The share of a day's requests in its busiest hour.
        burst: How many times that hour's mean its busiest seconds are.
        agents: The share of people with an agent, which asks once for each role and forty minutes, by a session.
        roles: How many roles one uses at the same time.
        hops: Of a chain; each is one call of STS.
        arrival: Minutes within which everybody comes in the morning and has nothing cached.
        quota: The share of the account's STS quota that is for the broker.
    """

    users: int
    active: float = 0.8
    requests: float = 120
    peak_hour: float = 0.2
    burst: float = 3
    agents: float = 0.0
    roles: float = 2
    hops: int = 2
    arrival: float = 15
    quota: float = 0.5


@dataclass(frozen=True, slots=True)
class Need:
    """What it takes. Rates are a second's, at the peak unless it says otherwise."""

    tickets: float
    sessions: float
    chains: float
    cores: float
    instances: int
    people_an_instance: float
    sts_calls: float
    sts_calls_morning: float
    regions: int
    sts_rate: int
    redis_bytes: float
    redis_cores: float
    audit_day: float
    audit_year: float
    instance_bytes: float


def reckon(people: People, measured: Measured) -> Need:
    """For so many, on machines like the one that was measured."""
    working = people.users * people.active
    by_ticket = working * (1 - people.agents) * people.requests
    by_session = working * people.agents * people.roles * 8 * HOUR / RENEWED_AFTER_SECONDS
    tickets, sessions = (day * people.peak_hour * people.burst / HOUR for day in (by_ticket, by_session))
    chains = working * people.roles / RENEWED_AFTER_SECONDS
    morning = working * people.roles / (people.arrival * 60)
    us, redis = measured.broker_us, measured.redis_us
    # The busiest seconds and the morning may be the same.
    extra_us = us["miss"] - us["session"]
    cores = (tickets * us["ticket"] + sessions * us["session"] + morning * extra_us) / 1e6
    instances = max(FEWEST, math.ceil(cores / BUSY) + SPARE)
    regions = max(1, math.ceil(morning * people.hops / (STS_QUOTA * people.quota)))
    kept = working * people.roles
    audit_day = (
        by_ticket * measured.audit_bytes["ticket"]
        + by_session * measured.audit_bytes["session"]
        + chains * 8 * HOUR * (measured.audit_bytes["miss"] - measured.audit_bytes["session"])
    )
    return Need(
        tickets=tickets,
        sessions=sessions,
        chains=chains,
        cores=cores,
        instances=instances,
        people_an_instance=people.users / (cores / BUSY),
        sts_calls=chains * people.hops,
        sts_calls_morning=morning * people.hops,
        regions=regions,
        sts_rate=int(STS_QUOTA * people.quota * regions / instances),
        redis_bytes=REDIS_ROOM
        * (
            measured.redis_bytes["empty"]
            + kept * measured.redis_bytes["entry"]
            + tickets * REMEMBERED_SECONDS * measured.redis_bytes["token"]
            + working * measured.redis_bytes["session"]
        ),
        redis_cores=(
            tickets * redis["ticket"]
            + sessions * redis["session"]
            + morning * (redis["miss"] - redis["session"])
            + instances * measured.fleet["redis_us_idle"]
        )
        / 1e6,
        audit_day=audit_day,
        audit_year=audit_day * YEAR,
        instance_bytes=measured.pss_bytes["rest"] + kept * measured.pss_bytes["entry"],
    )
