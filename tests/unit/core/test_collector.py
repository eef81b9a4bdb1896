"""The collector is out of the way, and comes back whatever happens."""

from __future__ import annotations

import gc

import pytest

from broker.core import collector


def test_the_collector_pauses_and_comes_back_after_a_failure_too():
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), collector.paused():
        _fail_while_paused()
    assert gc.isenabled()


def _fail_while_paused() -> None:
    assert not gc.isenabled()
    raise ZeroDivisionError


def test_a_pause_within_a_pause_does_not_end_it():
    with collector.paused():
        with collector.paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
