"""Times for people: the time of day where they are, and what is left. Times of the broker read ``2026-01-31T12:34:56Z``."""

from __future__ import annotations

import calendar
import time

from zerotrust_kerberos.failures import Failure

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def seconds(text: str) -> int:
    """Unix time.

    Raises:
        Failure: ``unexpected_answer``, it is none.
    """
    try:
        return calendar.timegm(time.strptime(text, _FORMAT))
    except ValueError as error:
        raise Failure("unexpected_answer", "a time that is none") from error


def of_day(moment: int) -> str:
    """``16:02``, and the date before it where that is not today's. ``moment`` is Unix time."""
    then, now = time.localtime(moment), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)


def left(moment: int) -> str:
    """``59 min``, ``9 h 05 min``, ``3 days``; ``over`` for what has been."""
    rest = moment - int(time.time())
    if rest <= 0:
        return "over"
    if rest < _MINUTE:
        return f"{rest} s"
    if rest < _HOUR:
        return f"{rest // _MINUTE} min"
    if rest < 2 * _DAY:
        return f"{rest // _HOUR} h {rest % _HOUR // _MINUTE:02} min"
    return f"{rest // _DAY} days"
