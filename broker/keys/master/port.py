"""What every master key can do: wrap keys and unwrap them, without showing itself.

A wrapped key is a blob that only the same master opens, and only with the context it was wrapped in; the context says what
the key *is* (keyring, kind, id), so that a blob opens in no other place.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


class MasterUnavailable(Exception):
    """The master key cannot be asked now: away, throttled, disabled. The message says why and holds no secret."""


class MasterRefused(MasterUnavailable):
    """It turns us away: a wrong PIN, login or permission. Asking again brings the same answer until somebody mends it."""


class MasterKey(Protocol):
    """Calls may take seconds, never longer than the adapter's own limit, and never hold up the event loop."""

    @property
    def id(self) -> str:
        """Which master this is, in printable characters, the same on every host and after every restart.

        It outlives the versions of a master that rotates where it lies.
        """
        ...

    async def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Encrypt a key with the newest version of the master.

        Raises:
            MasterUnavailable: It cannot be asked.
        """
        ...

    async def unwrap(self, blob: bytes, *, context: bytes) -> bytes:
        """The key that ``wrap`` was given with the same context, by whichever version of this master.

        Raises:
            MasterUnavailable: It cannot be asked; the blob may be good.
            CannotOpen: The blob is altered, cut, moved, or of another master (``broker.keys.envelope``).
        """
        ...

    async def is_newest(self, blob: bytes) -> bool:
        """Whether the newest version wrapped it: else it is due to be wrapped anew.

        Raises:
            MasterUnavailable: It cannot be asked.
        """
        ...

    async def ping(self) -> str | None:
        """None while it can be used, else why not."""
        ...

    async def close(self) -> None:
        """Let go of whatever is open."""
        ...


@runtime_checkable
class Rotatable(Protocol):
    """A master that makes its own next version, where it lies. Others rotate by what the operator puts in their place."""

    async def rotate(self) -> None:
        """From here on a new version wraps; all earlier ones unwrap.

        Raises:
            MasterUnavailable: It cannot be asked, or may not; nothing has changed, or a version more exists.
        """
        ...
