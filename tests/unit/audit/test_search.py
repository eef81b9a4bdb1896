"""A search finds every record that holds a value, in order, and parses no other."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from broker.audit import reading
from broker.audit.search import chains_of, said, search, search_members, value
from tests.fakes.audit import NOON, Directory, Log

KEY = "ASIAEXAMPLE000000003"


def numbers(found) -> list[tuple[str, int]]:
    return [(one.record["instance"], one.record["seq"]) for one in found]


def test_the_lines_that_hold_a_value_and_no_others_are_parsed(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.put(Log().add(50).checkpoint())
    parsed: list[bytes] = []
    chains = chains_of([directory.path])
    monkeypatch.setattr(
        "broker.audit.search.orjson.loads", lambda line: parsed.append(line) or json.loads(line), raising=True
    )
    assert numbers(search(chains, [value(KEY)])) == [("host-1", 3)]
    assert len(parsed) == 1


def test_records_of_several_instances_come_by_time_and_those_of_one_by_place(directory: Directory) -> None:
    for instance, minutes in (("host-1", (0, 4, 2)), ("host-2", (1, 3, 5))):
        log = Log(instance=instance)
        for minute in minutes:
            log.add(timestamp=NOON + timedelta(minutes=minute), access_key_id=KEY)
        directory.put(log)
    found = numbers(search(chains_of([directory.path]), [said("access_key_id", KEY)]))
    assert found == [("host-1", 1), ("host-2", 1), ("host-2", 2), ("host-1", 2), ("host-1", 3), ("host-2", 3)]


def test_files_of_one_instance_are_read_in_the_order_of_their_records_whatever_they_are_called(
    directory: Directory,
) -> None:
    log = Log().add(9)
    for name, lines in (("audit-host-1.jsonl", log.lines[6:]), ("a", log.lines[3:6]), ("z", log.lines[:3])):
        (directory.path / name).write_bytes(b"".join(line + b"\n" for line in lines))
    assert numbers(search(chains_of([directory.path]), [value("alice@EXAMPLE.COM")])) == [
        ("host-1", number) for number in range(1, 10)
    ]


def test_a_file_that_is_named_twice_is_read_once(directory: Directory) -> None:
    path = directory.records(Log().add(3).records())
    assert len(list(search(chains_of([path, directory.path, path]), [value(KEY)]))) == 1


def test_a_file_that_a_crash_left_with_two_names_is_read_once(directory: Directory) -> None:
    path = directory.records(Log().add(3).records())
    path.with_name("audit-host-1.1.jsonl").hardlink_to(path)
    assert sum(len(chain) for chain in chains_of([directory.path])) == 1


@pytest.mark.parametrize("block", [1, 7, 700, 5000])
def test_where_a_block_ends_within_a_line_nothing_is_lost(
    directory: Directory, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_BLOCK", block)
    directory.put(Log().add(20))
    chains = chains_of([directory.path])
    assert len(list(search(chains, [value("alice@EXAMPLE.COM")]))) == 20
    many = {f"request-{number}" for number in range(1, 21)}
    assert len(list(search_members(chains, ("request_id",), many))) == 20


def test_few_values_and_many_find_the_same(directory: Directory) -> None:
    directory.put(Log().add(30).add(1, request_id='quoted "\\ and \u00fc'))
    chains = chains_of([directory.path])
    wanted = ['quoted "\\ and \u00fc', "request-3", "request-30", "request"]
    few = numbers(search_members(chains, ("request_id",), wanted))
    many = numbers(search_members(chains, ("request_id",), [*wanted, *(f"nobody-{number}" for number in range(9))]))
    assert few == many == [("host-1", 3), ("host-1", 30), ("host-1", 31)]


def test_a_value_counts_as_a_whole_and_in_its_member(directory: Directory) -> None:
    directory.put(Log().add(12))
    chains = chains_of([directory.path])
    assert numbers(search(chains, [value("request-1")])) == [("host-1", 1)]
    assert not list(search(chains, [said("user", "request-1")]))
    assert not list(search_members(chains, ("user",), {f"request-{number}" for number in range(12)}))


def test_a_line_that_holds_it_and_is_no_record_is_found_and_says_so(directory: Directory) -> None:
    path: Path = directory.records(Log().add(2).records() + b'{"access_key_id":"' + KEY.encode() + b'", torn\n')
    (found,) = search(chains_of([path]), [value(KEY)])
    assert (found.record, found.says) == (None, {})
