"""What is made of herds, growth, memory and starts, and the policies that growth is measured with."""

from __future__ import annotations

import random
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench import begin, cold, entries, growth, instances, records, rest
from bench.curve import Point
from bench.growth import ASKERS, Growth
from bench.rest import Rest

_PATIENCE = 20.0  # Whoever does not come by then does not come.


def herd(*, principals: int, calls: int, last: float = 0.2) -> cold.Herd:
    return cold.Herd(principals=principals, calls=calls, last=last, chain=0.1)


def test_a_herd_that_asks_sts_once_more_than_it_must_misses_the_goal() -> None:
    lone, many, last = cold.part([herd(principals=1, calls=2), herd(principals=50, calls=101)]).rows
    assert (lone.value.value, lone.reached) == (1.0, True)
    assert (many.value.value, many.reached) == (1.01, False)
    assert (last.value.value, last.reached) == (2.0, False)


def test_a_herds_tail_is_one_principals_and_the_others_is_told_beside_it() -> None:
    part = cold.part([herd(principals=1, calls=2, last=0.14), herd(principals=50, calls=100, last=1.2)])
    assert part.rows[2].value.value == pytest.approx(1.4)
    assert "last answer after 1200 ms" in part.remarks[0]


def test_a_policy_has_as_many_rules_as_it_should_and_everybody_who_asks_stands_in_it_once() -> None:
    made = growth.rules(1000, chance=random.Random(1))  # noqa: S311  # an order of rules
    principals = [rule["principals"][0] for rule in made]
    assert len(set(principals)) == 1000
    assert {f"{user}@EXAMPLE.COM" for user in ASKERS} < set(principals)
    # Not all at the beginning, where a search would find them first.
    assert principals[: len(ASKERS)] != [f"{user}@EXAMPLE.COM" for user in ASKERS]


def test_a_policy_too_short_for_those_who_ask_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        growth.rules(len(ASKERS) - 1, chance=random.Random(1))  # noqa: S311  # the same


def test_growth_is_the_longest_policy_against_the_shortest_and_all_of_them_are_told() -> None:
    found = Growth(
        cpu_us={10: [100.0, 200.0], 1000: [1.0, 1.0], 100_000: [110.0, 220.0]},
        start={10: 1.0, 1000: 1.1, 100_000: 9.0},
        reload=None,
    )
    part = growth.part(found)
    assert part.rows[0].value.value == pytest.approx(1.1)
    assert part.remarks[0] == "CPU a request by the number of rules: 10: 150 us, 1,000: 1 us, 100,000: 165 us."
    assert "reload" not in part.remarks[1]


def test_memory_at_rest_is_told_in_millions_of_octets_with_what_requests_left() -> None:
    looks = [
        Point(requests=each * 1000, seconds=0.0, rss=0, pss=0, own=each * 50_000, descriptors=9, threads=1)
        for each in range(1, 11)
    ]
    part = rest.part(Rest(pss=[59_000_000, 61_000_000], rss=[80_000_000, 81_000_000], points=looks))
    assert (part.rows[0].value.value, part.rows[0].reached) == (60.0, True)
    assert "81 MB were resident" in part.remarks[0]
    assert "10,000 warm requests each left +50 octets" in part.remarks[0]


def test_a_herd_has_a_connection_each_and_its_time_ends_with_the_last_answer() -> None:
    requests = [b"GET / HTTP/1.1\r\n\r\n"] * 3
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        server.settimeout(_PATIENCE)

        def serve() -> None:
            connections = [server.accept()[0] for _ in requests]
            for connection in connections:
                assert connection.recv(100) == requests[0]
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                connection.close()

        served = thread.submit(serve)
        assert cold.at_once(requests, port=server.getsockname()[1]) > 0
        served.result()


def test_ready_is_when_a_server_says_so_and_not_when_it_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        server.settimeout(_PATIENCE)
        asked: list[bytes] = []

        def serve() -> None:
            for status in (b"503 Unready", b"200 OK"):
                connection = server.accept()[0]
                asked.append(connection.recv(1000).partition(b"\r\n")[0])
                connection.sendall(b"HTTP/1.1 %b\r\n\r\n" % status)
                connection.close()

        served = thread.submit(serve)
        begin.ready_at(server.getsockname()[1], until=float("inf"))
        served.result()
    assert asked == [b"GET /readyz HTTP/1.1"] * 2


def test_two_instances_are_held_against_the_time_that_the_load_leaves_them() -> None:
    one = instances.Rate(per_second=1000.0, load=0.05, cpu_us=[1000.0])
    two = instances.Rate(per_second=1800.0, load=0.1, cpu_us=[500.0, 500.0])
    part = instances.part([instances.Round(one=one, two=two)])
    assert part.rows[0].value.value == pytest.approx(1.8 * 2 / 1.9)
    assert part.rows[0].reached
    # What the load takes of a core of its own is nothing that one instance lacks.
    assert part.rows[0].peer == 1000.0
    assert "served 1.80 times as much" in part.remarks[0]


def test_two_instances_that_serve_no_more_than_one_miss_the_goal() -> None:
    rate = instances.Rate(per_second=1000.0, load=0.1, cpu_us=[500.0])
    assert not instances.part([instances.Round(one=rate, two=rate)]).rows[0].reached


def test_entries_are_told_by_their_number_and_those_of_redis_alone_beside_them() -> None:
    part = entries.part(
        entries.Entries(number=100_000, few_us=[400.0], many_us=[500.0], lot_us=[600.0], redis_us=900.0)
    )
    assert (part.rows[0].value.value, part.rows[0].reached) == (1.25, False)
    assert "beside 100,000 cached entries, 20,000 of them in the process" in part.rows[0].what
    assert "any of 400 roles instead of the same one again: 600 us instead of 500" in part.remarks[0]
    assert "in Redis only: 900 us" in part.remarks[0]


def test_records_are_told_by_their_number_and_what_the_start_and_the_audit_take_of_them() -> None:
    part = records.part(records.Records(number=300_000, few_us=[400.0], many_us=[500.0], start=0.7, verify=30.0))
    assert (part.rows[0].value.value, part.rows[0].reached) == (1.25, False)
    assert "300,000 records" in part.rows[0].what
    assert "0.7 s after its start" in part.remarks[0]
    assert "took 30.0 s" in part.remarks[0]
