"""AWS's word that somebody may not have a role, remembered for some seconds; and that a renewal has just failed.

A thousand clients in a loop then cost one call, and not a thousand of an account's quota. Each of them is refused, and recorded,
with the reason that AWS gave the first. Only a denial is remembered: whatever may be over the next moment is asked for again.
But nobody waits for a renewal, and the old set is good for minutes: an AWS that is down is not asked for it by each request.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from broker.core.clock import Clock
from broker.core.errors import StsDenied

_T = TypeVar("_T")

# A loop without a pause is answered from here; whoever mends a trust policy and tries again does not notice.
REMEMBERED = timedelta(seconds=3)
# A set is renewed with some minutes to go, which is time for a dozen tries.
PUT_OFF = timedelta(seconds=15)
# Some hundred bytes each. The oldest makes room.
_ENTRIES = 10_000


class Refusals:
    """By the name under which the credentials would lie in the cache."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._denied: OrderedDict[str, tuple[float, str, str]] = OrderedDict()
        self._put_off: OrderedDict[str, float] = OrderedDict()

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
            _keep(self._denied, name, (self._clock.boottime() + REMEMBERED.total_seconds(), str(error), error.reason))
            raise

    def puts_off(self, name: str) -> bool:
        """Whether a renewal would be in vain: denied, or tried a moment ago."""
        return self.knows(name) or self._put_off.get(name, 0.0) > self._clock.boottime()

    @contextmanager
    def renewal(self, name: str) -> Iterator[None]:
        """Around a renewal: where it fails, whatever of, the next one is put off."""
        try:
            yield
        except Exception:
            _keep(self._put_off, name, self._clock.boottime() + PUT_OFF.total_seconds())
            raise


def _keep(entries: OrderedDict[str, _T], name: str, entry: _T) -> None:
    entries[name] = entry
    entries.move_to_end(name)
    if len(entries) > _ENTRIES:
        entries.popitem(last=False)
