"""Somebody at a terminal is told that there is something to wait for: after a moment, and not for good."""

from __future__ import annotations

import select
import time

import pytest

from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.watch import Watch


class Gone(BaseException):
    """The process has ended."""


class Terminal:
    """stderr, and a clock that runs only while somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, over: float = 1e9) -> None:
        self.seconds = 0.0
        self.over = over
        self.shown: list[str] = []
        self.is_one = True
        monkeypatch.setattr(select, "select", self._wait)
        monkeypatch.setattr(time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr("os.isatty", lambda number: self.is_one and number == 2)
        monkeypatch.setattr("os.write", self._write)
        monkeypatch.setattr("os._exit", self._exit)
        monkeypatch.setenv("TERM", "xterm")

    def _wait(self, pipes: list[int], _w: object, _x: object, seconds: float) -> tuple[list[int], list[int], list[int]]:
        """Ctrl-C is pressed when ``over`` is reached."""
        self.seconds += seconds
        if self.seconds < self.over:
            return [], [], []
        self.seconds = self.over
        return pipes, [], []

    def _write(self, number: int, text: bytes) -> int:
        assert number == 2
        self.shown.append(text.decode())
        return len(text)

    def _exit(self, _status: int) -> None:
        raise Gone

    def watched(self, *, is_seen: bool = True, seconds: float = 5.0, code: str = "broker_timeout") -> list[str]:
        """What is shown by a command that waits until its time is up."""
        watch = Watch(self._report, is_seen=is_seen)
        watch.waiting_for = code
        with pytest.raises(Gone):
            watch._wait(0, seconds)
        return self.shown

    def _report(self, failure: Failure) -> None:
        self.shown.append(failure.code)


def test_whoever_waits_is_told_for_whom_and_the_line_goes_before_anything_else_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Terminal(monkeypatch).watched() == ["waiting for the broker...", "\r\x1b[K", "broker_timeout"]
    assert Terminal(monkeypatch).watched(code="kdc_unreachable")[0] == "waiting for the KDC..."


def test_what_is_over_within_300_ms_is_not_talked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Terminal(monkeypatch, over=0.29).watched() == ["interrupted"]
    assert Terminal(monkeypatch, over=0.31).watched() == ["waiting for the broker...", "\r\x1b[K", "interrupted"]
    assert Terminal(monkeypatch).watched(seconds=0.2) == ["waiting for the broker...", "\r\x1b[K", "broker_timeout"]


@pytest.mark.parametrize("why", ["a pipe", "dumb", "none", "nobody"])
def test_nothing_is_shown_where_nobody_looks(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    terminal.is_one = why != "a pipe"
    if why in {"dumb", "none"}:
        monkeypatch.setenv("TERM", "dumb" if why == "dumb" else "")
    assert terminal.watched(is_seen=why != "nobody") == ["broker_timeout"]


def test_whoever_speaks_first_is_not_talked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    watch = Watch(lambda _: None, is_seen=True)
    watch.speak()
    watch._tell()
    assert terminal.shown == []


def test_an_answer_takes_the_line_away_once(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    watch = Watch(lambda _: None, is_seen=True)
    watch.waiting_for = "broker_timeout"
    watch._tell()
    watch.speak()
    watch.speak()
    assert terminal.shown == ["waiting for the broker...", "\r\x1b[K"]
