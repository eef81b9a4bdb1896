"""The chart's schema of values is made from the broker's own."""

from __future__ import annotations

import json
from pathlib import Path

from image.values_schema import values_schema

WRITTEN = Path(__file__).parents[2] / "charts" / "zerotrust-broker" / "values.schema.json"


def test_the_schema_is_the_one_that_follows_from_the_brokers_own() -> None:
    assert json.loads(WRITTEN.read_text()) == values_schema(), "run: make docs"
