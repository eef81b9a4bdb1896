"""AWS's word that somebody may not have a role, remembered for some seconds.

A thousand clients in a loop then cost one call, and not a thousand of an account's quota. Each of them is refused, and recorded,
with the reason that AWS gave the first. Only a denial is remembered: whatever may be over the next moment is asked for again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from broker.core.clock import Clock
from broker.core.errors import StsDenied

# A loop without a pause is answered from here; whoever mends a trust policy and tries again does not notice.
REMEMBERED = timedelta(seconds=3)
# Some hundred bytes each. The oldest makes room.
_ENTRIES = 10_000


class Refusals:
    """By the name under which the credentials would lie in the cache."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._denied: OrderedDict[str, tuple[float, str, str]] = OrderedDict()

    def check(self, name: str) -> None:
        """Return if there is no reason not to ask.

        Raises:
            StsDenied: AWS denied it a moment ago.
        """
        if self.knows(name):
            _, message, reason = self._denied[name]
            raise StsDenied(message, reason=reason)

    def knows(self, name: str) -> bool:
        """Whether AWS denied it a moment ago."""
        found = self._denied.get(name)
        return found is not None and found[0] > self._clock.boottime()

    @contextmanager
    def remembered(self, name: str) -> Iterator[None]:
        """Around the asking: a denial is remembered on its way out."""
        try:
            yield
        except StsDenied as error:
            # Its words and not the error itself, which would hold its frames, and what lies in them, for as long.
            self._denied[name] = (self._clock.boottime() + REMEMBERED.total_seconds(), str(error), error.reason)
            self._denied.move_to_end(name)
            if len(self._denied) > _ENTRIES:
                self._denied.popitem(last=False)
            raise
