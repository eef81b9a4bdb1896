"""What every channel is: it takes one message to the other side, once, and says what became of it.

A channel keeps nothing and tries nothing again: ``breach`` does. What it raises and returns is for logs and records, so no URL,
key or password is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from broker.core.secret import Secret
from broker.watch.notice import Notice, one_line
from broker.watch.wording import Text

# Seconds for one message, the way there included. Behind a server that hangs others wait.
DEADLINE = 20.0
# Of the other side's words this much is kept.
_SAID_MAX = 200
# Characters. Shorter words of a path ("services", "hook") are nobody's secret.
_TOKEN_MIN = 9


@dataclass(frozen=True, slots=True)
class Message:
    """A notice in a channel's words. ``done`` are those of several recipients that have it already."""

    notice: Notice
    text: Text
    done: frozenset[str] = frozenset()


class Undelivered(Exception):
    """Not now; later it may work. ``after`` is how many seconds the other side wants to be left alone; ``done`` as in Message."""

    def __init__(self, why: str, *, after: float | None = None, done: Iterable[str] = ()) -> None:
        super().__init__(why)
        self.after = after
        self.done = frozenset(done)


class Refused(Exception):
    """Never, however often it is tried: the other side does not want it."""


class Channel(Protocol):
    """The port."""

    async def deliver(self, message: Message) -> str:
        """Return what the other side said when it took the message.

        Raises:
            Undelivered: It is worth another try.
            Refused: It is not.
        """

    async def close(self) -> None:
        """Let connections go."""


def told_by(url: Secret) -> list[Secret]:
    """What of a URL must not be repeated: an error page of the other side rarely has the whole, but often the path."""
    text = url.reveal()
    path = text.split("/", 3)[-1]
    return [url, *(Secret(each) for each in (path, *re.split("[/?&=]", path)) if len(each) >= _TOKEN_MIN)]


def said(words: str, *secrets: Secret) -> str:
    """What the other side said, fit for a log: short, one line, and without what it may have repeated of our secrets."""
    for secret in secrets:
        words = words.replace(secret.reveal(), "***")
    return one_line(" ".join(words.split()), longest=_SAID_MAX)
