"""What a warm request costs beside many cached credentials: goal 8, for entries.

Fifty people and many roles. The entries are sealed here, with the broker's own keys, and put into its Redis, where another
instance would have put them; fetching so many from STS would take long. Then everybody asks for as many roles as the process
keeps, so that those are in its memory too. The peer is a broker with the same configuration and one
role's entries, fifty: so that both hear of as many people, each of whom asks for one role again and again. What it costs where
everybody asks for another role each time is told beside it: a first use in five minutes is noted, and learned by the watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import cycle, islice
from typing import cast

import redis

from bench import load
from bench.ground import PEOPLE, Ground, asking, pid_of, port_of, settings_of
from bench.load import CONNECTIONS
from bench.negotiate import begin_session
from bench.processes import cpu_seconds, on_core
from bench.row import Part, compared
from broker.assembly.keys import hierarchy_of
from broker.authz.policy import Policy, decide
from broker.authz.supposed import Supposed
from broker.cache.entry import EntrySeal
from broker.cache.sealed import CredentialCache
from broker.cache.store import MemoryStore
from broker.cache.tamper import TamperAlarm
from broker.cache.turns import Judge, Turn, Turns
from broker.core.birth import Births
from broker.core.clock import SystemClock, boot_id
from broker.core.credentials import Credentials
from broker.core.roles import RoleName
from broker.core.secret import Secret
from broker.keys.hierarchy import Use
from tests.fakes.broker import BrokerProcess
from tests.fakes.redis import RedisServer
from tests.fakes.sts import demo

# A process keeps 20,000 (broker/cache/store.py): a fifth of the longest.
_KEPT_SHARE = 5
_WARM_UP = 300
# Everybody has it in the process, and the peer has no other.
_FIRST = "role0"
_LIFE = timedelta(hours=1)
_ACCOUNT = demo.DEVELOPER_ROLE.split(":")[4]
_TOKEN_CHARACTERS = 900  # As AWS's are.
_AT_ONCE = 1000
# A broker that nobody asks takes less than this share of a core.
_QUIET_SHARE, _LOOK_SECONDS, _LOOKS = 0.04, 0.4, 200


class WrongWork(RuntimeError):
    """What was put into Redis is not what the broker took."""


@dataclass(frozen=True, slots=True)
class Entries:
    """CPU microseconds a request in each round, with one entry for each person and with so many.

    Attributes:
        lot_us: With so many, where people ask for any of their roles.
        redis_us: Of one that lies in Redis only.
    """

    number: int
    few_us: Sequence[float]
    many_us: Sequence[float]
    lot_us: Sequence[float]
    redis_us: float


def measure(here: Ground, *, number: int, rounds: int, requests: int, chance: random.Random) -> Entries:
    """A round asks both brokers, in random order, and the one with many also for roles drawn by lot.

    Raises:
        UnexpectedAnswer: Somebody was refused.
        WrongWork: The brokers asked STS for more than those of the peer.
    """
    roles = [_FIRST, *(f"role{count}" for count in range(1, number // len(PEOPLE)))]
    kept = roles[: len(roles) // _KEPT_SHARE]
    own = [chance.choice(kept) for _ in PEOPLE]
    cost: dict[str, list[float]] = {"few": [], "many": [], "lot": []}
    here.sts.clear_calls()
    with _broker(here, "few", roles) as (few, _), _broker(here, "many", roles) as (many, store):
        asyncio.run(_fill(many, store, roles))
        _take(here, many, kept)

        def volley(name: str, count: int) -> float:
            if name == "few":
                return _volley(here, few, [_FIRST] * count)
            # Everybody's ticket in turn.
            roles = chance.choices(kept, k=count) if name == "lot" else list(islice(cycle(own), count))
            return _volley(here, many, roles)

        for name in cost:
            volley(name, _WARM_UP)
        for _ in range(rounds):
            for name in chance.sample(sorted(cost), k=len(cost)):
                cost[name].append(volley(name, requests))
        # A role a round of people: each entry once, and none that the process has.
        cold = [role for role in roles[len(kept) :] for _ in PEOPLE][:requests]
        from_redis = _volley(here, many, cold)
        _require_few_chains(here, few)
    return Entries(number=number, few_us=cost["few"], many_us=cost["many"], lot_us=cost["lot"], redis_us=from_redis)


def part(found: Entries) -> Part:
    """The row of goal 8 about entries."""
    row = compared(
        8,
        f"warm Negotiate request beside {found.number:,} cached entries, {found.number // _KEPT_SHARE:,} of them in the process, "
        f"against {len(PEOPLE)}: server CPU",
        "us",
        ours=found.many_us,
        peer=found.few_us,
        goal=1.20,
    )
    any_role, same_role = statistics.median(found.lot_us), statistics.median(found.many_us)
    remark = (
        f"Beside {found.number:,} entries, where each asks for any of {found.number // len(PEOPLE) // _KEPT_SHARE} roles "
        f"instead of the same one again: {any_role:.0f} us instead of {same_role:.0f}; "
        f"credentials that lie in Redis only: {found.redis_us:.0f} us, once."
    )
    return Part([row], asdict(found), [remark])


@contextlib.contextmanager
def _broker(here: Ground, name: str, roles: Sequence[str]) -> Iterator[tuple[BrokerProcess, RedisServer]]:
    chain = [
        {"arn": demo.HUB_ROLE, "external_id": demo.HUB_EXTERNAL_ID},
        {"arn": demo.DEVELOPER_ROLE, "external_id": demo.DEVELOPER_EXTERNAL_ID},
    ]
    everybody = {"name": "everybody", "principals": ["*@EXAMPLE.COM"], "roles": list(roles)}
    with on_core(here.cores.load):
        store = RedisServer.start(here.folder / f"redis-{name}")
    with (
        store,
        here.broker(
            f"entries-{name}",
            aws=here.generous(),
            roles={role: {"chain": chain} for role in roles},
            rules=[everybody],
            # As the first row has it; where Redis keeps tickets' uses, that is the same for one entry and for many.
            kerberos={
                "keytabs": [str(here.folder / "http.keytab")],
                "realms": {"EXAMPLE.COM": {}},
                "replay_guard": "local",
            },
            redis={"url": store.url, "password": store.password},
        ) as broker,
    ):
        yield broker, store


class _Collected(Turns):
    """Gives everybody the turn, and takes down what they keep."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, bytes, timedelta]] = []

    @asynccontextmanager
    async def turn(self, name: str, *, seen: bytes, judge: Judge) -> AsyncIterator[Turn]:  # noqa: ARG002  # nothing is there
        yield Turn(name=name, token="")

    async def keep(self, turn: Turn, entry: bytes, ttl: timedelta) -> None:
        self.kept.append((turn.name, entry, ttl))


async def _fill(broker: BrokerProcess, store: RedisServer, roles: Sequence[str]) -> None:
    """Everybody's credentials for each role."""
    settings = settings_of(broker)
    hierarchy = await asyncio.to_thread(hierarchy_of, settings)
    clock, collected = SystemClock(), _Collected()
    births = Births(clock=clock, boot=boot_id())
    cache = CredentialCache(
        near=MemoryStore(clock=clock),
        turns=collected,
        seal=EntrySeal(envelope=hierarchy.envelope(Use.CACHE_SEAL), clock=clock, births=births),
        name_key=hierarchy.derive(Use.CACHE_NAME),
        epoch=lambda _: 0,
        # Nothing is opened, so nothing can be found to be tampered with.
        alarm=cast("TamperAlarm", None),
    )
    policy = Policy(roles=settings.roles, rules=settings.grants)
    with contextlib.closing(redis.Redis.from_url(store.url_with_password)) as client:
        for role in map(RoleName, roles):
            for person in PEOPLE:
                identity = Supposed(Supposed.named(f"{person}@EXAMPLE.COM")).identity(now=clock.now())
                grant = decide(policy, identity=identity, role=role, address=None, now=clock.now())
                async with cache.turn(grant) as fetching:
                    await fetching.keep(_credentials(clock))
            if len(collected.kept) >= _AT_ONCE or role == roles[-1]:
                pipeline = client.pipeline(transaction=False)
                for name, entry, ttl in collected.kept:
                    pipeline.set(name, entry, px=ttl)
                pipeline.execute()
                collected.kept.clear()


def _credentials(clock: SystemClock) -> Credentials:
    return Credentials(
        access_key_id="ASIAMADEUPFORBENCH22",
        secret_access_key=Secret("s" * 40),
        session_token=Secret("t" * _TOKEN_CHARACTERS),
        expiration=clock.now().replace(microsecond=0) + _LIFE,
        account=_ACCOUNT,
        role_arn=demo.DEVELOPER_ROLE,
    )


def _take(here: Ground, broker: BrokerProcess, roles: Sequence[str]) -> None:
    """Everybody asks for each of the roles, with a session."""
    cookies = [begin_session(port_of(broker), ticket) for ticket in here.tickets(len(PEOPLE))]
    requests = [asking(broker, role, cookie, "Cookie") for role in roles for cookie in cookies]
    here.gun.submit(load.fire, requests, port=port_of(broker), server=pid_of(broker)).result()


def _volley(here: Ground, broker: BrokerProcess, roles: Sequence[str]) -> float:
    """CPU microseconds a request. The requests that open the connections are for a role that the process has.

    Begins when what earlier requests left to do has been done: with a Redis the watch keeps there, behind them, what it learned.
    """
    _until_quiet(broker)
    tickets = here.tickets(len(roles) + CONNECTIONS)
    asked = [*[_FIRST] * CONNECTIONS, *roles]
    requests = [asking(broker, role, ticket) for role, ticket in zip(asked, tickets, strict=True)]
    done = here.gun.submit(load.fire, requests, port=port_of(broker), server=pid_of(broker)).result()
    return done.server_cpu / done.count * 1e6


def _require_few_chains(here: Ground, few: BrokerProcess) -> None:
    calls, hops = len(here.sts.calls()), len(next(iter(few.settings["roles"].values()))["chain"])
    if calls != hops * len(PEOPLE):
        raise WrongWork(
            f"{calls} calls of STS where {len(PEOPLE)} entries take {hops} each, and all others lie in Redis"
        )


def _until_quiet(broker: BrokerProcess) -> None:
    for _ in range(_LOOKS):
        before = cpu_seconds(pid_of(broker))
        time.sleep(_LOOK_SECONDS)
        if cpu_seconds(pid_of(broker)) - before < _QUIET_SHARE * _LOOK_SECONDS:
            return
    raise WrongWork("the broker was not done with what it was asked for")
