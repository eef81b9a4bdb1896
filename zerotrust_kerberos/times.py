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
    """``16:02``, and the date before it where the next 16:02 is another one. ``moment`` is Unix time."""
    is_next = 0 <= moment - int(time.time()) < _DAY
    return time.strftime("%H:%M" if is_next else "%Y-%m-%d %H:%M", time.localtime(moment))


def until(moment: int) -> str:
    """``16:02 (59 min left)``."""
    return f"{of_day(moment)} ({span(max(0, moment - int(time.time())))} left)"


def left(text: str) -> str:
    """``5 h 12 min left`` until a time of the broker, or how long ago it was; empty for what is none."""
    length = seconds_left(text)
    if length is None:
        return ""
    return f"{span(length)} left" if length > 0 else f"ended {span(-length)} ago"


def seconds_left(text: str) -> int | None:
    """Until a time of the broker; negative when it is over, None for what is none."""
    try:
        return seconds(text) - int(time.time())
    except Failure:
        return None


def span(length: int) -> str:
    """``5 h 12 min``, of seconds."""
    if length < _MINUTE:
        return f"{length} s"
    if length < _HOUR:
        return f"{length // _MINUTE} min"
    if length < _DAY:
        return f"{length // _HOUR} h {length % _HOUR // _MINUTE} min"
    return f"{length // _DAY} d {length % _DAY // _HOUR} h"
