"""A value that must not be seen by accident."""

from __future__ import annotations

import hmac
from typing import NoReturn

from broker import locked
from broker.core.errors import ConfigurationError


class Secret:
    """Text that shows in no repr, no format, no pickle, and compares in constant time.

    ``reveal()`` is the one way out, named so that a reader can search for it. CPython strings cannot be erased, so
    nothing here promises to (docs/memory.md).
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, to be used at once."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal().encode(), other.reveal().encode())

    __hash__ = None  # type: ignore[assignment]  # a secret is nobody's dictionary key

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


class SecretAtRest(Secret):
    """One that lives as long as the process and is used now and then: sealed in memory until it is revealed."""

    __slots__ = ("_kept",)

    def __init__(self, value: str) -> None:
        super().__init__("")
        self._kept = locked.AtRest(value.encode())

    def reveal(self) -> str:
        """The text itself, to be used at once."""
        return self._kept.open().decode()

    def wipe(self) -> None:
        """Overwrite it; to reveal it then raises ``broker.locked.Wiped``."""
        self._kept.wipe()

    def __bool__(self) -> bool:
        return bool(self.reveal())


class Unasked(Secret):
    """Of a value that stands in a vault which nobody asked, because whoever reads the configuration has no need of it."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        super().__init__("")
        self._key = key

    def reveal(self) -> str:
        """Never.

        Raises:
            ConfigurationError: There is nothing to show.
        """
        raise ConfigurationError([f"{self._key}: stands in the vault, which this command does not ask"])

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None
