"""What a check says of what it looked at."""

from __future__ import annotations

import enum


class Verdict(enum.StrEnum):
    """``UNSEEN`` is neither good nor bad: nobody could look, so it never counts as passed."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    UNSEEN = "unseen"
