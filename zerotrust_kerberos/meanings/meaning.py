"""What there is to say about one code."""

from __future__ import annotations

from collections.abc import Sequence


class Meaning:
    """One code's.

    Attributes:
        happened: What happened, in a sentence or two.
        why: What it can come from, the likeliest first; each a sentence.
        do: What to do, step by step; each a sentence. Commands stand in backticks.
    """

    def __init__(self, happened: str, *, why: Sequence[str], do: Sequence[str]) -> None:
        self.happened = happened
        self.why = why
        self.do = do
