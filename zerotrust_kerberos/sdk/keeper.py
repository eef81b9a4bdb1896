"""Credentials that never grow old: asked for when first needed, and again with 20 minutes left.

One caller asks and the others go on with what is there; who has nothing waits for the answer, or for the reason of its lack.
While the broker cannot be asked, what AWS still takes is good enough, and the broker is asked once a minute. When the broker
says no, nothing is kept: it was asked whether this may go on.
"""

from __future__ import annotations

import os
import threading
import time

from broker import wire
from zerotrust_kerberos.failures import EXIT_APPROVAL, EXIT_DENIED
from zerotrust_kerberos.sdk.secret_manager import ZeroTrustError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from zerotrust_kerberos.sdk.credentials import Credentials

# Seconds. A request that is signed now has to reach AWS and may find its clock ahead: what ends sooner is not handed out.
LAST = 60
# Seconds between two questions while the answer does not get better: the broker is away, or the ticket itself ends soon.
AGAIN = 60

_NO = (EXIT_DENIED, EXIT_APPROVAL)


class Keeper:
    """The credentials of one role, kept for as many threads as like; a forked child asks for its own."""

    def __init__(self, ask: Callable[[], Credentials], *, now: Callable[[], float] = time.time) -> None:
        """``ask`` gets new credentials or raises ``ZeroTrustError``; ``now`` is the time in seconds since 1970."""
        self._ask = ask
        self._now = now
        self._begin()

    def _begin(self) -> None:
        self._owner = os.getpid()
        self._asking = threading.Lock()
        self._kept: Credentials | None = None
        self._error: ZeroTrustError | None = None
        self._turn = 0  # how often asking failed
        self._next = 0.0

    def fresh(self) -> Credentials | None:
        """What can be used without asking anybody; None where it is time to ask. Never blocks."""
        if self._owner != os.getpid():
            # A lock that another thread held at the fork would never be released here, and the secrets are the parent's.
            self._begin()
        kept, now = self._kept, self._now()
        if kept is None or not self._lasts(kept):
            return None
        return kept if kept.ends - now > wire.REFRESH_AT or now < self._next else None

    def current(self) -> Credentials:
        """What to sign with now. It is shared: whoever may wipe it takes a copy.

        Raises:
            ZeroTrustError: There are none, or the broker says that there shall be none any more.
        """
        if (kept := self.fresh()) is not None:
            return kept
        turn, kept = self._turn, self._kept
        if kept is None or not self._lasts(kept):
            with self._asking:
                return self._answer(turn)
        if not self._asking.acquire(blocking=False):
            return kept
        try:
            return self._answer(turn)
        finally:
            self._asking.release()

    def _answer(self, turn: int) -> Credentials:
        if (kept := self.fresh()) is not None:
            return kept
        if self._turn != turn and self._error is not None:
            # It was asked while we waited: a hundred threads must not wait for a dead broker one after the other.
            raise ZeroTrustError(str(self._error), code=self._error.code, exit_status=self._error.exit_status)
        found = self._asked()
        self._next = self._now() + AGAIN
        if self._kept is None or found.ends > self._kept.ends:
            self._kept = found
        return self._kept

    def _asked(self) -> Credentials:
        try:
            return self._ask()
        except ZeroTrustError as error:
            if error.exit_status in _NO:
                self._kept = None
            if self._kept is not None and self._lasts(self._kept):
                return self._kept
            self._turn, self._error = self._turn + 1, error
            raise

    def _lasts(self, kept: Credentials) -> bool:
        return kept.ends - self._now() > LAST

    def wipe(self) -> None:
        """Forget what is kept."""
        if self._kept is not None and self._owner == os.getpid():
            self._kept.wipe()
        self._kept = None
