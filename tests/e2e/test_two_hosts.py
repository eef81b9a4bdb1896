"""Two hosts, Redis and Sentinel on three: the primary dies, its host is cut off, ways close in one direction; and all comes back.

What is judged at the end is the whole of what clients were answered, against AWS's log and the signed records: no token was good
twice, nobody got another's, nothing was handed out to whom was revoked, and every key that was handed out is on record.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from subprocess import CompletedProcess

import pytest

from tests.fakes.judge import Revocation
from tests.fakes.outages import KINDS, broken, flows, primary_of, seen, verdict
from tests.fakes.site import BROKERS, HOSTS, Site
from tests.fakes.traffic import Traffic
from tests.fakes.until import eventually

SERVED = 200
NO_GUARD = "503 replay_guard_unavailable"
# Promised is a second. Processes share two cores with other tests.
HEARD_SECONDS = 5.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as running:
        yield running


def other(broker: str) -> str:
    return next(name for name in BROKERS if name != broker)


def everywhere(traffic: Traffic, *, since: float) -> bool:
    return all(flows(traffic, name, way, since=since) for name in BROKERS for way in ("ticket", "session"))


def test_when_the_primary_is_killed_sessions_go_on_and_tickets_are_good_once_at_the_next(site: Site) -> None:
    with Traffic(site) as traffic:
        eventually(lambda: everywhere(traffic, since=0))
        with broken(site, KINDS["kill"]) as outage:
            moved = time.monotonic()
            eventually(lambda: everywhere(traffic, since=moved))
        mended = time.monotonic()
        eventually(lambda: everywhere(traffic, since=mended))
    traffic.everything_again()
    assert verdict(site, traffic) == []
    for name in BROKERS:
        assert set(seen(traffic, broker=name, way="ticket", since=outage.began).failures) <= {NO_GUARD}
        assert not seen(traffic, broker=name, way="session", since=outage.began).failures


@dataclass(frozen=True)
class Cut:
    """What came of it: the host that was away with the primary, the other, and moments of the monotonic clock."""

    traffic: Traffic
    away: str
    here: str
    said: CompletedProcess[str]
    apart: float
    revoked: float
    healed: float
    heard: float
    wrong: list[str]


@pytest.fixture(scope="module")
def cut(site: Site) -> Cut:
    """First nobody hears the host, then it hears nobody either, then it is heard again, then all is well."""
    site.quorum.move_to(BROKERS)
    away = primary_of(site)
    here, others = other(away), [name for name in HOSTS if name != away]
    with Traffic(site) as traffic:
        eventually(lambda: everywhere(traffic, since=0))
        bobs = traffic.session("bob", away)
        for name in others:
            site.network.deafen(name, away)
        site.quorum.wait_for_another_primary(away)
        for name in others:
            site.network.deafen(away, name)
        apart = time.monotonic()
        eventually(lambda: flows(traffic, here, "ticket", since=apart))
        said = site.admin(here, "revoke-credentials", "--user", "bob@EXAMPLE.COM", "--json")
        revoked = time.monotonic()
        traffic.revoked.add("bob")
        eventually(lambda: flows(traffic, away, "session", since=revoked))
        for name in others:
            site.network.restore(name, away)
        half = time.monotonic()
        eventually(lambda: flows(traffic, here, "ticket", since=half) and flows(traffic, away, "session", since=half))
        site.network.heal()
        healed = time.monotonic()
        heard = healed + eventually(lambda: traffic.by_session(away, "bob", bobs).status != SERVED)
        eventually(lambda: everywhere(traffic, since=heard))
    traffic.everything_again()
    deadline = {here: revoked, away: heard}
    wrong = verdict(site, traffic, [Revocation("bob", deadline)])
    return Cut(traffic, away, here, said, apart, revoked, healed, heard, wrong)


def test_a_host_that_is_cut_off_with_the_primary_gives_nobody_anything_wrong_and_loses_no_record(cut: Cut) -> None:
    assert cut.wrong == []


def test_what_is_cut_off_judges_no_ticket_and_serves_the_sessions_that_it_has(cut: Cut) -> None:
    tickets = seen(cut.traffic, broker=cut.away, way="ticket", since=cut.apart, until=cut.healed)
    assert set(tickets.failures) == {NO_GUARD}
    assert tickets.failures.total() == tickets.answers
    for name in BROKERS:
        assert not seen(cut.traffic, broker=name, way="session", since=0).failures


def test_a_revocation_says_that_one_instance_has_not_heard_which_hears_when_the_way_is_back(cut: Cut) -> None:
    receipt = json.loads(cut.said.stdout)
    assert (cut.said.returncode, receipt["told"], len(receipt["not_heard"])) == (1, True, 1)
    bobs = [each for each in cut.traffic.attempts if (each.user, each.broker, each.way) == ("bob", cut.away, "session")]
    until_then = {each.status for each in bobs if cut.revoked < each.began < cut.healed}
    assert until_then == {SERVED}, "what a host serves that no news can reach is what the receipt warns of"
    assert cut.heard - cut.healed < HEARD_SECONDS
