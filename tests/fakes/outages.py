"""What can break between two hosts, how it is mended, and what a client saw of it, in seconds and in answers.

The tests break a few of these for as long as it takes; `python -m bench.hosts` breaks all of them, again and again, and writes
the numbers down.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fakes.judge import Facts, Revocation, unverified, wrongs
from tests.fakes.site import BROKERS, HOSTS, Site
from tests.fakes.traffic import Attempt, Traffic
from tests.fakes.until import eventually

# What says that a ticket was judged: 200, or 401 for a token that the other broker had first.
JUDGED = {"ticket": {200, 401}, "session": {200}}


@dataclass(slots=True)
class Outage:
    """One fault while people work.

    Attributes:
        victim: The host whom it hits.
        began, mended: Monotonic; ``mended`` is 0 while it lasts.
        failover: Seconds until Sentinels had named another primary; None where nothing had to move.
        whole: Seconds from the mending until there was one primary again with everybody in step.
    """

    victim: str
    began: float = 0.0
    mended: float = 0.0
    failover: float | None = None
    whole: float = 0.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault.

    Attributes:
        what: For the table.
        needs: Whom it hits, of what the site looks like: a host's name.
        make: Break it.
        mend: Bring it back.
        moves: Whether another Redis must become the primary.
    """

    what: str
    needs: Callable[[Site], str]
    make: Callable[[Site, str], None]
    mend: Callable[[Site, str], None]
    moves: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """By the clients of one broker, in one way: failures, and the seconds until the first answer behind the last of them."""

    answers: int
    failures: Counter[str] = field(default_factory=Counter)
    back: float = 0.0
    slowest: float = 0.0


def primary_of(site: Site) -> str:
    """The host whose Redis is the primary."""
    found: list[str] = []
    eventually(lambda: found.append(site.quorum.primary or "") or found[-1])
    return found[-1]


def other_broker(site: Site) -> str:
    """A broker's host without the primary."""
    return next(name for name in BROKERS if name != primary_of(site))


def _kill_redis(site: Site, host: str) -> None:
    site.quorum.nodes[host].kill()


def _start_redis(site: Site, host: str) -> None:
    site.quorum.bring_back(host)


def _freeze_redis(site: Site, host: str) -> None:
    site.quorum.nodes[host].freeze()


def _thaw_redis(site: Site, host: str) -> None:
    site.quorum.nodes[host].thaw()


def _isolate(site: Site, host: str) -> None:
    site.network.isolate(host)


def _deaf(site: Site, host: str) -> None:
    for other in HOSTS:
        if other != host:
            site.network.deafen(host, other)


def _mute(site: Site, host: str) -> None:
    for other in HOSTS:
        if other != host:
            site.network.deafen(other, host)


def _heal(site: Site, _: str) -> None:
    site.network.heal()


def _crash(site: Site, host: str) -> None:
    """Everything that runs there, at once, as with its power."""
    site.quorum.nodes[host].kill()
    site.quorum.sentinels[host].kill()
    if host in site.brokers:
        site.brokers[host].kill()


def _boot(site: Site, host: str) -> None:
    site.quorum.bring_back(host)
    site.quorum.sentinels[host].start()
    if host in site.brokers:
        site.brokers[host].start()


KINDS = {
    "kill": Kind("the primary Redis is killed", primary_of, _kill_redis, _start_redis),
    "freeze": Kind("the primary Redis is frozen", primary_of, _freeze_redis, _thaw_redis),
    "cut": Kind("the primary's host is cut off, both ways", primary_of, _isolate, _heal),
    "deaf": Kind("the primary's host hears nobody, and is heard", primary_of, _deaf, _heal),
    "mute": Kind("the primary's host is heard by nobody, and hears", primary_of, _mute, _heal),
    "aside": Kind("a host without the primary is cut off", other_broker, _isolate, _heal, moves=False),
    "crash": Kind("the primary's host loses its power", primary_of, _crash, _boot),
}


@contextmanager
def broken(site: Site, kind: Kind) -> Iterator[Outage]:
    """Broken in the block, once it has taken effect; mended behind it."""
    outage = Outage(kind.needs(site))
    outage.began = time.monotonic()
    kind.make(site, outage.victim)
    if kind.moves:
        outage.failover = site.quorum.wait_for_another_primary(outage.victim)
    try:
        yield outage
    finally:
        outage.mended = time.monotonic()
        kind.mend(site, outage.victim)


def seen(traffic: Traffic, *, broker: str, way: str, since: float, until: float | None = None) -> Seen:
    """What the clients of a broker got of what they asked in that time."""
    asked = list(traffic.since(since, broker=broker, way=way))
    asked = [each for each in asked if until is None or each.began < until]
    failed = [each for each in asked if each.status not in JUDGED[way]]
    last = max((each.ended for each in failed), default=since)
    well = [each for each in asked if each.began >= last and each.status in JUDGED[way]]
    return Seen(
        answers=len(asked),
        failures=Counter(f"{each.status} {each.code}".strip() for each in failed),
        # Somebody who never got an answer behind the last failure saw no recovery at all.
        back=(min((each.ended for each in well), default=float("inf")) - since) if failed else 0.0,
        slowest=max((each.ended - each.began for each in asked), default=0.0),
    )


def flows(traffic: Traffic, broker: str, way: str, *, since: float, count: int = 5) -> bool:
    """Whether so many in a row were answered as they should be, lastly, and all begun behind a moment."""
    lately: Sequence[Attempt] = list(traffic.since(since, broker=broker, way=way))[-count:]
    return len(lately) == count and all(each.status in JUDGED[way] for each in lately)


def verdict(site: Site, traffic: Traffic, revocations: Sequence[Revocation] = ()) -> list[str]:
    """Everything that was wrong, with the records of all that ended orderly or not."""
    facts = Facts(
        attempts=traffic.attempts,
        calls=site.sts.calls(),
        records={name: broker.records() for name, broker in site.brokers.items()},
        revocations=revocations,
    )
    return [*wrongs(facts), *unverified(site.brokers)]
