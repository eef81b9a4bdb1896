"""Every target for a few seconds: what is easily found is found before it is merged. The long runs are in docs/fuzzing.md."""

from __future__ import annotations

import pytest

from tests.fuzz import planted, runner

# Seconds: about a minute for all of them together, beside a second each for the start.
SECONDS = round(60 / len(runner.TARGETS))


@pytest.mark.parametrize("target", runner.TARGETS)
def test_no_input_breaks_a_promise(target: str) -> None:
    outcome = runner.run(target, seconds=SECONDS, seed=1)
    assert outcome.is_clean, outcome.report()
    # More than the seeds: it did fuzz, and the product is instrumented.
    assert outcome.executions > 200, outcome.report()
    assert outcome.branches > 10, outcome.report()


def test_an_input_that_breaks_a_promise_is_found_and_shown() -> None:
    outcome = runner.run("tests.fuzz.planted", seconds=20, seed=1)
    assert not outcome.is_clean
    assert outcome.finding is not None
    assert outcome.finding[:1] == planted.EXCEPTION
    assert outcome.finding.hex() in outcome.report()
    assert "KeyError" in outcome.report()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [(planted.EXCEPTION, "KeyError"), (planted.SLOWNESS, "TooSlow"), (planted.GREED, "out-of-memory")],
)
def test_one_input_that_breaks_a_promise_is_called_a_finding(data: bytes, complaint: str) -> None:
    outcome = runner.replay("tests.fuzz.planted", data)
    assert not outcome.is_clean
    assert complaint in outcome.report()


def test_one_input_that_breaks_nothing_is_clean() -> None:
    assert runner.replay("tests.fuzz.planted", b"harmless").is_clean
