"""The table of the benchmarks and the document it goes into."""

from __future__ import annotations

import pytest

from bench import helper, instructions, negotiate
from bench.negotiate import APACHE, BROKER, NAIVE, Measured, Round
from bench.report import BEGIN, END, recorded, remarks, table
from bench.row import Part, Row, alone, compared

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
    """With a session everybody takes a tenth of what a ticket takes, but Apache, which takes a twentieth."""
    return Round(
        order=[],
        ticket={
            BROKER: measured(cpu=cpu, p99=p99, share=share),
            APACHE: measured(cpu=200.0, p99=4.0),
            NAIVE: measured(cpu=400.0, p99=8.0),
        },
        session={
            BROKER: measured(cpu=cpu / 10, p99=0.3),
            APACHE: measured(cpu=10.0, p99=0.2),
            NAIVE: measured(cpu=40.0, p99=0.8),
        },
    )


A_PAIR = helper.Pair(helper_ms=15.0, curl_ms=10.0, interpreter_ms=7.0)
PAIRS = {way: [A_PAIR] for way in (helper.HTTP, helper.SOCKET, helper.HTTPS, helper.AGENT)}


def parts(found: Round) -> dict[str, Part]:
    return {
        "negotiate": negotiate.part([found]),
        "helper": helper.part(PAIRS),
        "instructions": instructions.part([instructions.Counted(broker=2.4e6, apache=3e6)]),
    }


def rows(found: Round) -> list[Row]:
    return [row for part in parts(found).values() for row in part.rows]


def test_rows_hold_the_ratio_to_the_peer_that_each_names() -> None:
    found = [(row.number, row.value.value) for row in rows(a_round())]
    assert found[:5] == [(1, 0.5), (2, 0.25), (3, 1.0), (4, 0.25), (4, 0.25)]
    assert found[5:] == [(5, 1.5), (5, 1.5), (5, 1.5), (5, 1.5), (7, 0.8)]


def test_a_row_is_made_of_ratios_within_each_round_and_not_of_medians() -> None:
    slow = a_round(cpu=400.0)
    slow = Round(order=[], ticket={**slow.ticket, NAIVE: measured(cpu=4000.0, p99=1.0)}, session=slow.session)
    row = next(row for row in negotiate.part([a_round(), slow]).rows if row.number == 4)
    assert row.value.value == pytest.approx((100 / 400 + 400 / 4000) / 2)


def test_tails_with_a_session_and_the_generators_shares_are_told_of_every_server() -> None:
    said = "\n".join(negotiate.part([a_round()]).remarks)
    assert "With a session, p99 in ms: broker 0.3, apache 0.2, naive 0.8." in said
    assert "by ticket broker 5%, apache 5%, naive 5%; by session broker 5%, apache 5%, naive 5%" in said


def test_a_goal_is_reached_at_its_very_number_and_missed_beyond_it() -> None:
    assert rows(a_round(cpu=200.0))[0].reached
    assert not rows(a_round(cpu=201.0))[0].reached
    assert compared(9, "two", "1/s", ours=[180.0], peer=[100.0], goal=1.80, is_floor=True).reached
    assert not compared(9, "two", "1/s", ours=[179.0], peer=[100.0], goal=1.80, is_floor=True).reached


def test_a_figure_without_a_peer_is_held_against_its_goal_itself() -> None:
    row = alone(10, "memory", "MB", ours=[59.0, 60.0, 61.0], goal=60.0)
    assert row.reached
    assert row.cells()[2:5] == ("60 MB", "", "")


def test_every_line_of_the_table_has_the_same_width() -> None:
    lines = table([*rows(a_round()), alone(10, "memory", "MB", ours=[59.0], goal=60.0)]).splitlines()
    assert len(lines) == 13
    assert len({len(line) for line in lines}) == 1


def test_a_busy_machine_is_remarked_on_and_a_quiet_one_is_not() -> None:
    assert "load average 3.2" in remarks(MACHINE, parts(a_round()))
    assert "load average" not in remarks(MACHINE | {"busy": False}, parts(a_round()))


def test_a_load_generator_that_takes_more_than_a_tenth_is_remarked_on() -> None:
    assert "own queue" in remarks(MACHINE, parts(a_round(share=0.11)))
    assert "own queue" not in remarks(MACHINE, parts(a_round(share=0.10)))


def test_recording_replaces_what_stands_between_the_markers_and_nothing_else() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert recorded(document, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


@pytest.mark.parametrize("document", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_document_without_markers_is_refused_rather_than_overwritten(document: str) -> None:
    with pytest.raises(ValueError, match="are missing"):
        recorded(document, "new")
