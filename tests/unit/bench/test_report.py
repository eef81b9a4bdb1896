"""The table of the benchmarks and the document it goes into."""

from __future__ import annotations

import pytest

from bench import growth
from bench.helper import AGENT, HTTP, HTTPS, SOCKET, Pair
from bench.negotiate import Measured, Round
from bench.report import BEGIN, END, recorded, remarks, rows, table

MACHINE = {
    "date": "2026-01-31T12:00:00Z",
    "cores": 2,
    "cpu": "Processor",
    "system": "Debian",
    "kernel": "6.1",
    "python": "3.11.2",
    "apache": "Server version: Apache/2.4",
    "krb5": "Kerberos 5 release 1.20.1",
    "load_average_before": 3.25,
    "busy": True,
}


def measured(*, cpu: float, p99: float, share: float = 0.05) -> Measured:
    return Measured(cpu_us=cpu, p50_ms=p99 / 2, p99_ms=p99, per_second=1000.0, load_share=share)


def a_round(*, cpu: float = 100.0, p99: float = 1.0, share: float = 0.05) -> Round:
    return Round(first="apache", broker=measured(cpu=cpu, p99=p99, share=share), apache=measured(cpu=200.0, p99=4.0))


A_PAIR = Pair(helper_ms=15.0, curl_ms=10.0, interpreter_ms=7.0)
PAIRS = {way: [A_PAIR] for way in (HTTP, SOCKET, HTTPS, AGENT)}
GROWN = growth.Pair(few_us=4.0, many_us=7.0)


def test_rows_hold_the_ratio_of_cpu_of_tail_of_the_helper_and_of_growth() -> None:
    assert [row.ratio.value for row in rows([a_round()], PAIRS, [GROWN])] == [0.5, 0.25, 1.5, 1.5, 1.5, 1.5, 1.03]


def test_a_goal_is_reached_at_its_very_number_and_missed_above_it() -> None:
    assert rows([a_round(cpu=200.0)], PAIRS, [GROWN])[0].reached
    assert not rows([a_round(cpu=201.0)], PAIRS, [GROWN])[0].reached


def test_every_line_of_the_table_has_the_same_width() -> None:
    lines = table(rows([a_round()], PAIRS, [GROWN])).splitlines()
    assert len(lines) == 9
    assert len({len(line) for line in lines}) == 1


def test_a_busy_machine_is_remarked_on_and_a_quiet_one_is_not() -> None:
    assert "load average 3.2" in remarks(MACHINE, [a_round()], PAIRS)
    assert "load average" not in remarks(MACHINE | {"busy": False}, [a_round()], PAIRS)


def test_a_load_generator_that_takes_more_than_a_tenth_is_remarked_on() -> None:
    assert "own queue" in remarks(MACHINE, [a_round(share=0.11)], PAIRS)
    assert "own queue" not in remarks(MACHINE, [a_round(share=0.10)], PAIRS)


def test_recording_replaces_what_stands_between_the_markers_and_nothing_else() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert recorded(document, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


@pytest.mark.parametrize("document", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_document_without_markers_is_refused_rather_than_overwritten(document: str) -> None:
    with pytest.raises(ValueError, match="are missing"):
        recorded(document, "new")
