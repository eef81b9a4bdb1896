"""A clock that a test moves."""

from __future__ import annotations

import pytest

from tests.fakes.cache import MovedClock


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()
