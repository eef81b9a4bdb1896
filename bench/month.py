"""A synthetic month of a company's records, with attacks in it: seeded, so that everybody sees the same month.

People of four sites in their hours, at the office, at home (some with addresses that change), behind a VPN, on trips; people
on call; batch jobs with backfills and one that is misconfigured; CI. They work late now and then, are on holiday, try a
role that is theirs for the first time, are refused for a slip, leave a tab open over night. The attacks are what the watch is
for, of each kind the same number, on other people each.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

from broker.watch.anomaly.finding import Kind
from broker.watch.anomaly.rate import DAY, HOUR
from broker.watch.anomaly.sighting import Outcome, Sighting
from broker.watch.anomaly.travel import Place

# A Monday.
BEGIN = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())
# Attacks come when most people have a history.
QUIET_DAYS = 14

_BERLIN, _LONDON = Place(52.5, 13.4, "Berlin"), Place(51.5, -0.1, "London")
_NEW_YORK, _BANGALORE = Place(40.7, -74.0, "New York"), Place(13.0, 77.6, "Bengaluru")
_TRIPS = (Place(48.9, 2.4, "Paris"), Place(41.4, 2.2, "Barcelona"), Place(37.8, -122.4, "San Francisco"))
_FAR = (Place(-23.5, -46.6, "São Paulo"), Place(35.7, 139.7, "Tokyo"), Place(-33.9, 151.2, "Sydney"))
# A site, the hours that it is ahead of UTC, and its share.
_SITES = ((_BERLIN, 1.0, 0.4), (_LONDON, 0.0, 0.2), (_NEW_YORK, -5.0, 0.2), (_BANGALORE, 5.5, 0.2))


@dataclass(frozen=True, slots=True)
class Attack:
    """What happened, to whom (an address, where it is spraying), from when to when."""

    kind: Kind
    of: str
    begin: int
    end: int


@dataclass(slots=True)
class _Who:
    """Somebody, and what they are like."""

    name: str
    site: Place
    ahead: float
    team: int
    roles: list[str]
    per_hour: float
    begins: float
    ends: float
    networks: list[tuple[str, Place]]
    absent: set[int] = field(default_factory=set)


class Month:
    """``sightings`` in the order of time, and the ``attacks`` that are in them."""

    def __init__(self, *, seed: int, people: int = 150, jobs: int = 50, days: int = 30, attacks: int = 20) -> None:
        """Make it: ``people`` and ``jobs``, and so many ``attacks`` of each kind."""
        self._chance = random.Random(seed)  # noqa: S311  # a month that is the same for everybody
        self._days = days
        self._prefix = 0
        self.attacks: list[Attack] = []
        self._all: list[Sighting] = []
        self._offices = {site: [self._network() for _ in range(3)] for site, _, _ in _SITES}
        self._isp = {site: [self._network() for _ in range(12)] for site, _, _ in _SITES}
        self._vpn = [(self._network(), _LONDON), (self._network(), _NEW_YORK)]
        persons = [self._person(number) for number in range(people)]
        for who in persons:
            self._live(who)
        for number in range(jobs):
            self._job(number)
        self._attack(persons, attacks)
        self.sightings = sorted(self._all, key=lambda each: each.at)

    # ---- who there is ----

    def _network(self) -> str:
        self._prefix += 1
        return f"{20 + self._prefix // 65_536}.{self._prefix // 256 % 256}.{self._prefix % 256}.0/24"

    def _person(self, number: int) -> _Who:
        chance = self._chance
        site, ahead, _ = chance.choices(_SITES, [share for _, _, share in _SITES])[0]
        team = chance.randrange(12)
        home = self._network()
        who = _Who(
            name=f"user{number}@EXAMPLE.COM",
            site=site,
            ahead=ahead,
            team=team,
            roles=[f"team{team}-{kind}" for kind in ("dev", "read", "deploy", "data")][: chance.choice([1, 2, 2, 3])],
            per_hour=chance.lognormvariate(1.3, 0.7),
            begins=chance.gauss(8.7, 0.8),
            ends=chance.gauss(17.4, 0.9),
            networks=[(chance.choice(self._offices[site]), site), (home, site)],
        )
        begin = chance.randrange(self._days)
        if chance.random() < 0.3:
            who.absent |= set(range(begin, begin + chance.choice([1, 2, 5, 10])))
        return who

    # ---- what they do ----

    def _live(self, who: _Who) -> None:
        chance = self._chance
        is_on_call, has_vpn = chance.random() < 0.12, chance.random() < 0.1
        is_dynamic, trip = chance.random() < 0.25, chance.randrange(self._days) if chance.random() < 0.1 else -9
        hotel = [(self._network(), chance.choice(_TRIPS)) for _ in range(2)]
        adopts = chance.randrange(8, self._days) if chance.random() < 0.15 and self._days > 8 else -1
        for day in range(self._days):
            weekend = day % 7 >= 5
            if day in who.absent or (weekend and chance.random() > 0.04):
                continue
            if is_dynamic and day % 5 == 0:
                who.networks[1] = (chance.choice(self._isp[who.site]), who.site)
            where = who.networks[chance.random() < 0.4]
            if has_vpn and chance.random() < 0.5:
                where = chance.choice(self._vpn)
            if trip < day <= trip + 3:
                where = hotel[day % 2]
            if day == adopts:
                who.roles.append(f"team{who.team}-data")
            # A day of flying: nobody is at two places on it.
            if day not in (trip, trip + 4):
                self._work(who, day, where, late=chance.random() < 0.03)
            if is_on_call and chance.random() < 0.06:
                at = BEGIN + day * DAY + int(chance.uniform(0, 24) * HOUR)
                self._use(who, at, who.networks[1], number=chance.randint(3, 15), within=HOUR)
            self._slips(who, day, where)

    def _work(self, who: _Who, day: int, where: tuple[str, Place], *, late: bool) -> None:
        chance = self._chance
        begins, ends = (
            who.begins + chance.gauss(0, 0.4),
            who.ends + chance.gauss(0, 0.6) + (chance.uniform(2, 4) * late),
        )
        morning = BEGIN + day * DAY - who.ahead * HOUR
        hour = begins
        while hour < ends:
            lively = 0.5 if 12 <= hour < 13 else 1.0
            number = self._poisson(who.per_hour * lively * chance.gammavariate(1.2, 1 / 1.2))
            self._use(who, int(morning + hour * HOUR), where, number=number, within=HOUR)
            hour += 1

    def _slips(self, who: _Who, day: int, where: tuple[str, Place]) -> None:
        chance, noon = self._chance, int(BEGIN + day * DAY + (12 - who.ahead) * HOUR)
        if chance.random() < 0.03:
            for _ in range(chance.randint(1, 6)):
                self._add(who.name, noon, where, Outcome.DENIED, reason=chance.choice(["no_rule", "ticket_too_weak"]))
        if chance.random() < 0.05:
            self._add(who.name, noon, where, Outcome.EXPIRED, reason="session_expired")
        if chance.random() < 0.001:
            self._add(who.name, noon, where, Outcome.ENDED, reason="session_ended")

    def _job(self, number: int) -> None:
        chance = self._chance
        site, ahead, _ = chance.choice(_SITES)
        name, where = f"job{number}/batch@EXAMPLE.COM", (chance.choice(self._offices[site]), site)
        kind = ("nightly", "hourly", "often", "ci")[number % 4]
        backfill = chance.randrange(10, self._days) if chance.random() < 0.2 and self._days > 10 else -1
        base = chance.lognormvariate(1.5, 0.6)
        for day in range(self._days):
            for hour in range(24):
                local, lively = (hour + ahead) % 24, 0.15 if day % 7 >= 5 else 1.0
                rate = {
                    "nightly": 3 * base * (local in (2, 3)),
                    "hourly": base,
                    "often": 12.0,
                    "ci": 4 * base * lively * (1.0 if 8 <= local < 19 else 0.1),
                }[kind]
                if day == backfill and 10 <= hour < 13:
                    rate += 15 + 4 * base
                at = BEGIN + day * DAY + hour * HOUR
                for _ in range(self._poisson(rate)):
                    self._add(name, at + chance.randrange(HOUR), where, Outcome.USED, role=f"batch{number}", rule=kind)
                if number == 1 and day == 12:
                    for minute in range(0, 60, 5):  # Whoever wrote this cron job had a wrong role in it, for a day.
                        self._add(name, at + minute * 60, where, Outcome.DENIED, reason="no_rule")

    # ---- what is done to them ----

    def _attack(self, persons: list[_Who], number: int) -> None:
        chance = self._chance
        victims = chance.sample(persons, len(persons))
        for kind in Kind:
            for _ in range(number):
                who = victims.pop()
                victims.insert(0, who)
                day = chance.randrange(QUIET_DAYS, self._days)
                while day % 7 >= 5 or day in who.absent:
                    day = chance.randrange(QUIET_DAYS, self._days)
                    if chance.random() < 0.02:
                        who.absent.clear()
                at = int(BEGIN + day * DAY + (chance.uniform(10, 16) - who.ahead) * HOUR) // HOUR * HOUR + 60
                self._one(kind, who, at)

    def _one(self, kind: Kind, who: _Who, at: int) -> None:
        chance, known = self._chance, who.networks[0]
        foreign = (self._network(), who.site)
        of = who.name
        if kind is Kind.VOLUME:
            self._use(who, at, known, number=int(math.exp(chance.uniform(math.log(40), math.log(400)))), within=3000)
        elif kind is Kind.HOUR:
            at = at // DAY * DAY + int(((chance.uniform(1, 4) - who.ahead) % 24) * HOUR)
            self._use(who, at, known, number=chance.randint(3, 15), within=1800)
        elif kind is Kind.NETWORK:
            self._use(who, at, foreign, number=chance.randint(3, 15), within=1800)
        elif kind is Kind.ROLE:
            self._use(who, at, known, number=chance.randint(1, 5), within=600, role=f"admin{chance.randrange(1000)}")
        elif kind is Kind.TRAVEL:
            self._use(who, at, known, number=1, within=1)
            self._use(who, at + 1800, (foreign[0], chance.choice(_FAR)), number=chance.randint(3, 15), within=900)
        elif kind is Kind.SPRAYING:
            of = foreign[0].replace(".0/24", ".7")
            self._refuse(kind, who, at, foreign)
        else:
            self._refuse(kind, who, at, known if kind is Kind.DENIALS else foreign)
        self.attacks.append(Attack(kind, of, at, at + HOUR))

    def _refuse(self, kind: Kind, who: _Who, at: int, where: tuple[str, Place]) -> None:
        chance = self._chance
        if kind is Kind.DENIALS:
            for _ in range(chance.randint(45, 200)):
                self._add(who.name, at + chance.randrange(3000), where, Outcome.DENIED, reason="no_rule")
        elif kind is Kind.SPRAYING:
            for each in range(chance.randint(10, 30)):
                self._add(f"user{each}@EXAMPLE.COM", at + each * 30, where, Outcome.DENIED, reason="ticket_too_weak")
        else:
            outcome = Outcome.ENDED if kind is Kind.ENDED else Outcome.EXPIRED
            for each in range(chance.randint(1, 4)):
                self._add(who.name, at + each, where, outcome, reason=f"session_{outcome.value}")

    # ---- sightings ----

    def _use(
        self, who: _Who, at: int, where: tuple[str, Place], *, number: int, within: int, role: str | None = None
    ) -> None:
        chosen = role or self._chance.choice(who.roles)
        for _ in range(number):
            moment = at + self._chance.randrange(within)
            self._add(who.name, moment, where, Outcome.USED, role=chosen, rule=f"team{who.team}")

    def _add(
        self,
        user: str,
        at: int,
        where: tuple[str, Place],
        outcome: Outcome,
        *,
        reason: str = "",
        role: str | None = None,
        rule: str = "",
    ) -> None:
        network, place = where
        self._all.append(
            Sighting(
                user=user,
                at=at,
                outcome=outcome,
                reason=reason,
                role=role,
                rule=rule,
                address=network.replace(".0/24", ".7"),
                network=network,
                place=place,
            )
        )

    def _poisson(self, mean: float) -> int:
        """Knuth's way, which is quick enough for these means."""
        limit, number, product = math.exp(-mean), 0, self._chance.random()
        while product > limit:
            number, product = number + 1, product * self._chance.random()
        return number


def alarmed_days(sightings: list[Sighting], *, after: int) -> int:
    """Principal-days on which anything could have been a false alarm, after so many days."""
    begin = BEGIN + after * DAY
    return len({(each.user, each.at // DAY) for each in sightings if each.at >= begin})
