"""What every store of sealed things offers to whoever lets keys follow each other."""

from __future__ import annotations

from typing import Protocol


class Sealed(Protocol):
    """A store, or whatever keeps sealed things for a time."""

    @property
    def name(self) -> str:
        """What an operator calls it."""
        ...

    async def reseal(self) -> frozenset[str]:
        """Seal anew what an older version of its keys sealed (``Envelope.is_newest``), beside everything else that goes on.

        It may take as long as it needs, is called again and again, and may be cancelled at any moment: nothing is lost then.

        Returns:
            The ids of the versions (``Envelope.version_of``) that it still needs, the newest included or not.

        Raises:
            Exception: Nobody knows what it needs, so that all is kept; the replica says so and asks again.
        """
        ...
