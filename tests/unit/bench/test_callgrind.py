"""How callgrind is asked to count, and how its numbers are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.callgrind import Counter, Uncounted, total

# Two dumps of one process, as callgrind writes them: the second begins at nothing.
PROFILE = "events: Ir\nfn=(1) main\n1 700\n\ntotals: 700\nevents: Ir\nfn=(1)\n1 11\n\ntotals: 11\n"


def written(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)


def test_every_dump_of_a_profile_counts() -> None:
    assert total(PROFILE) == 711


def test_a_profile_without_a_total_has_no_instructions() -> None:
    assert total("events: Ir\n") == 0


def test_the_instructions_of_all_processes_are_added(tmp_path: Path) -> None:
    written(tmp_path, "callgrind.100.1", "totals: 5\n")
    written(tmp_path, "callgrind.101.1", "totals: 70\n")
    written(tmp_path, "callgrind.101", "totals: 0\n")
    assert Counter(tmp_path).instructions() == 75


@pytest.mark.parametrize("content", ["", "totals: 0\n"])
def test_a_profile_that_counted_nothing_is_no_number(tmp_path: Path, content: str) -> None:
    written(tmp_path, "callgrind.100.1", content)
    with pytest.raises(Uncounted, match="nothing in"):
        Counter(tmp_path).instructions()
