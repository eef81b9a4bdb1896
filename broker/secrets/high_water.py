"""How far this process has seen each secret go: whoever puts an older row back, or takes one away, is found out by it.

A seal says that a row was ours, not that it is the last. Where the store is in others' hands, only a memory outside it can
tell; this is the part of it that costs nothing. It forgets what was longest not met, and everything at a restart.
"""

from __future__ import annotations

from collections import OrderedDict

from broker.remote.failure import Malformed

# Secrets. Each takes about 200 bytes.
_REMEMBERED_MAX = 50_000


class HighWaterMarks:
    """By name."""

    def __init__(self) -> None:
        self._revisions: OrderedDict[bytes, int] = OrderedDict()

    def check(self, name: bytes, *, revision: int, path: str) -> None:
        """Take note of a revision.

        Raises:
            Malformed: A later one was here before; ``rolled_back``, or ``vanished`` for a revision of 0.
        """
        known = self._revisions.get(name, 0)
        if revision < known:
            what, reason = ("is gone", "vanished") if revision == 0 else ("is an older one put back", "rolled_back")
            raise Malformed(
                f"{path} {what}: this broker has seen a later one — fix: see who writes to the store; restore a backup",
                reason=reason,
            )
        if revision > known:
            self._revisions[name] = revision
        if revision:
            self._revisions.move_to_end(name)
            if len(self._revisions) > _REMEMBERED_MAX:
                self._revisions.popitem(last=False)

    def forget(self) -> None:
        """Another store begins."""
        self._revisions.clear()
