"""Things that somebody used, such as networks, and from which day to which: the longest unused is forgotten first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

NETWORKS_MAX = 32
ROLES_MAX = 32


class Span(NamedTuple):
    """Unix days, the first and the last."""

    first: int
    last: int


Spans = Mapping[str, Span]


def used(spans: Spans, name: str, *, day: int, longest: int) -> Spans:
    """With this one used on this day; at most ``longest`` of them."""
    known = spans.get(name)
    if known is not None and known.last >= day:
        return spans
    if known is None and len(spans) >= longest:
        stale = min(spans, key=lambda each: spans[each].last)
        spans = {each: span for each, span in spans.items() if each != stale}
    return {**spans, name: Span(day if known is None else known.first, day)}


def begun_since(spans: Spans, day: int) -> int:
    """How many are no older."""
    return sum(span.first >= day for span in spans.values())
