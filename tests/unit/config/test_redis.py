from __future__ import annotations

import pytest

from broker.config.redis import Redis
from tests.fakes.certificates import server_certificate
from tests.unit.config.conftest import MINIMAL, Host

SENTINEL = 'sentinel: {hosts: ["rediss://a.example.com", "rediss://b.example.com:26380"], service: broker}'
CLUSTER = 'cluster: {hosts: ["rediss://a.example.com", "rediss://[fd00::1]:7000"]}'

TLS = 'tls: {ca: "${REDIS_CA}"}'


@pytest.fixture
def host(host: Host) -> Host:
    made = server_certificate(host.folder / "redis", "ecdsa-sha256")
    host.environ["REDIS_CA"] = str(made.certificate)
    return host


def section(host: Host, text: str) -> Redis:
    settings = host.load(f"{MINIMAL}redis: {{{text}}}\n")
    assert settings.redis is not None
    return settings.redis


def test_sentinels_are_named_with_the_port_that_sentinels_have(host: Host) -> None:
    found = section(host, f"{SENTINEL}, {TLS}, username: broker, password: canary")
    assert found.hosts == (("a.example.com", 26379), ("b.example.com", 26380))
    assert found.sentinel is not None
    assert (found.sentinel.service, found.username, found.uses_tls) == ("broker", "broker", True)


def test_hosts_of_a_cluster_have_the_port_of_redis(host: Host) -> None:
    assert section(host, f"{CLUSTER}, {TLS}").hosts == (("a.example.com", 6379), ("fd00::1", 7000))


@pytest.mark.parametrize(
    ("where", "replicas"),
    [
        ('url: "redis://localhost"', 0),
        (f"{SENTINEL}, {TLS}", 1),
        (f"{CLUSTER}, {TLS}", 1),
        (f"{SENTINEL}, {TLS}, replicas: 0", 0),
        ('url: "redis://localhost", replicas: 2', 2),
    ],
)
def test_what_must_not_be_lost_is_told_to_a_replica_wherever_there_are_some(
    host: Host, where: str, replicas: int
) -> None:
    assert section(host, where).must_be_told == replicas


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("password: canary", "does not say where Redis is — fix: give one of url, sentinel and cluster"),
        (f'{SENTINEL}, url: "redis://localhost"', "has url and sentinel — fix: give exactly one"),
        (f"{SENTINEL}, {CLUSTER}", "has sentinel and cluster — fix: give exactly one"),
        ('url: "rediss://one@a.example.com", username: two', "names two users — fix: write username, or USER@ in url"),
        ('url: "redis://localhost", tls: {}', "has tls, and no rediss:// — fix: write rediss://"),
        (
            'cluster: {hosts: ["redis://localhost", "rediss://a.example.com"]}',
            "mixes redis and rediss — fix: use rediss:// (TLS) for all of them",
        ),
    ],
)
def test_a_section_that_leads_nowhere_or_two_ways_is_refused(host: Host, text: str, fault: str) -> None:
    (problem,) = host.problems(f"{MINIMAL}redis: {{{text}}}\n")
    assert problem.startswith("FILE:6: redis")
    assert fault in problem


def test_neither_sentinels_nor_clusters_are_spoken_to_in_the_clear_beyond_loopback(host: Host) -> None:
    for kind in ("sentinel: {service: s, hosts", "cluster: {hosts"):
        (problem,) = host.problems(f'{MINIMAL}redis: {{{kind}: ["redis://a.example.com"]}}}}\n')
        assert "is plain redis beyond loopback — fix: use rediss:// (TLS)" in problem


@pytest.mark.parametrize("where", [SENTINEL, CLUSTER, f"{SENTINEL}, tls: {{}}"])
def test_who_can_be_led_elsewhere_does_not_believe_every_host_that_some_authority_of_the_system_s_knows(
    host: Host, where: str
) -> None:
    (problem,) = host.problems(f"{MINIMAL}redis: {{{where}}}\n")
    assert "says not whose certificates count where it is led — fix: give tls.ca" in problem
    assert section(host, 'url: "rediss://a.example.com"').tls is None
