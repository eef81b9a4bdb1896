"""Answers for people and for programs."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest

from zerotrust_kerberos import tables, times
from zerotrust_kerberos.commands import Call
from zerotrust_kerberos.failures import Failure, Place
from zerotrust_kerberos.watch import Watch

COLUMNS = ("role", "alias", "needs")
ROWS = [["developer", "", "reason"], ["a", "", ""], ["admin", "", "approval"]]
ANSWER = {"roles": [{"name": "developer"}]}


def call(*switches: str, **options: str) -> Call:
    made = Call("roles", watch=Watch(lambda _: None), place=Place([]))
    made.switches.update(switches)
    made.options.update(options)
    return made


def shown(kind: str, rows: list[list[str]] = ROWS) -> str:
    return tables.shown(kind, answer=ANSWER, columns=COLUMNS, rows=rows)


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.isatty", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_table_is_aligned_and_leaves_out_what_is_empty_everywhere() -> None:
    assert shown(tables.TABLE) == "ROLE       NEEDS\ndeveloper  reason\na\nadmin      approval"


def test_columns_of_a_pipe_keep_their_places_without_a_head() -> None:
    assert shown(tables.TSV) == "developer\t\treason\na\t\t\nadmin\t\tapproval"


def test_json_is_what_the_broker_said() -> None:
    assert json.loads(shown(tables.JSON)) == ANSWER


def test_csv_reads_back_with_its_head() -> None:
    rows = [['a "b"', "c,d", ""], ["é", " ", "x"]]
    assert list(csv.reader(io.StringIO(shown(tables.CSV, rows)))) == [list(COLUMNS), *rows]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "=HYPERLINK(0)"])
def test_csv_holds_nothing_that_a_spreadsheet_would_run(cell: str) -> None:
    (row,) = list(csv.reader(io.StringIO(shown(tables.CSV, [[cell, "x", "y"]]))))[1:]
    assert row[0] == f"'{cell}"


@pytest.mark.parametrize("kind", [tables.TABLE, tables.TSV, tables.CSV])
def test_words_of_others_neither_break_a_line_nor_reach_the_terminal(kind: str) -> None:
    text = shown(kind, [["a\tb\nc", "\x1b[2Jd", "\u202eé"]])
    assert "a?b?c" in text
    assert "?[2Jd" in text
    assert "?é" in text


def test_no_rows_are_no_lines_but_for_csv() -> None:
    assert [shown(kind, []) for kind in (tables.TABLE, tables.TSV)] == ["", ""]
    assert shown(tables.CSV, []) == "role,alias,needs"


def test_one_thing_has_no_head_but_in_csv() -> None:
    pairs = [("principal", "alice"), ("realm", "X")]
    made = {kind: tables.told(kind, answer=ANSWER, pairs=pairs) for kind in tables.FORMATS}
    assert made["table"] == "principal  alice\nrealm      X"
    assert made["tsv"] == "principal\talice\nrealm\tX"
    assert made["csv"] == "name,value\nprincipal,alice\nrealm,X"


def test_the_form_is_chosen_by_where_stdout_leads(on_a_terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tables.form(call()) == "table"
    monkeypatch.setattr("os.isatty", lambda _: False)
    assert tables.form(call()) == "tsv"


def test_a_form_that_is_asked_for_counts_wherever_stdout_leads() -> None:
    assert [tables.form(call(format=kind)) for kind in tables.FORMATS] == list(tables.FORMATS)
    assert tables.form(call("json")) == tables.form(call("json", format="json")) == "json"


@pytest.mark.parametrize("wrong", [call(format="yaml"), call("json", format="csv")])
def test_a_form_that_there_is_not_is_a_fault_of_usage(wrong: Call) -> None:
    with pytest.raises(Failure) as raised:
        tables.form(wrong)
    assert raised.value.code == "usage"
    assert raised.value.fix == "zerotrust help roles"


def test_colour_has_no_width(on_a_terminal: None) -> None:
    text = shown(tables.TABLE, [["production", "x", "y"], ["b", "open", "z"]])
    assert text.splitlines()[1:] == ["\x1b[31mproduction\x1b[0m  x      y", "b           \x1b[32mopen\x1b[0m   z"]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")])
def test_colour_is_left_out_where_it_is_not_wanted(
    name: str, value: str, on_a_terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" in shown(tables.TABLE)
    monkeypatch.setenv(name, value)
    assert "\x1b" not in shown(tables.TABLE)


def test_an_empty_no_color_says_nothing(on_a_terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b" in shown(tables.TABLE)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *[(59, "59 s left"), (60, "1 min left"), (3599, "59 min left"), (3600, "1 h 0 min left")],
        *[(18_720, "5 h 12 min left"), (90_000, "1 d 1 h left"), (0, "ended 0 s ago"), (-120, "ended 2 min ago")],
    ],
)
def test_time_left_is_told_in_words(seconds: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_769_861_696.9 - seconds)
    assert times.left("2026-01-31T12:14:56Z") == words


def test_what_is_no_time_has_none_left() -> None:
    assert times.left("soon") == ""
    assert times.seconds_left("") is None
