"""How secrets are called, and how rules say which of them they mean. Nothing is folded, trimmed or decoded.

A path is components between slashes. In a pattern a ``*`` stands for one whole component, and ``**`` at the end for one or more:
``team-a/*`` means ``team-a/db`` and not ``team-a/db/root``; ``team-a/**`` means both, and not ``team-a``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from broker.core.pattern import WILDCARD, UnsafePattern

# Characters. Every backend takes so much.
PATH_MAX = 256
_REST = "**"
# `.` and `..` never name a step: a path must not be another path after a proxy's or a file system's reading.
_PATH = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[A-Za-z0-9_.@-]+(?:/[A-Za-z0-9_.@-]+)*")


def is_path(text: str) -> bool:
    """Whether this names a secret, letter by letter: nothing is folded, trimmed or decoded."""
    return len(text) <= PATH_MAX and _PATH.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class PathPattern:
    """``team-a/db``, ``*/db``, ``team-a/**``. ``has_rest``: it ends with ``**``, which is not among the ``components``."""

    components: tuple[str, ...]
    has_rest: bool

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Take a rule's text apart.

        Raises:
            UnsafePattern: With its stars replaced it is no path, a ``*`` stands inside a component, ``**`` not at the end.
        """
        components = tuple(text.split("/"))
        has_rest = components[-1] == _REST
        if has_rest:
            components = components[:-1]
        if any(WILDCARD in part and part != WILDCARD for part in components):
            fix = "let * stand for one whole component, and ** at the end for all that follows: team-a/*, team-a/**"
            raise UnsafePattern("has a * where it cannot stand", fix)
        if len(text) > PATH_MAX or not all(part == WILDCARD or is_path(part) for part in components):
            raise UnsafePattern(
                "is not the path of a secret", "write components of letters, digits and _.@- between slashes"
            )
        return cls(components=components, has_rest=has_rest)

    def __str__(self) -> str:
        """As it is written in a rule."""
        return "/".join((*self.components, *([_REST] if self.has_rest else [])))

    def matches(self, path: str) -> bool:
        """Whether it means the secret of this path."""
        parts = path.split("/")
        if len(parts) <= len(self.components) if self.has_rest else len(parts) != len(self.components):
            return False
        return self._agrees_with(parts)

    def reaches_below(self, prefix: str) -> bool:
        """Whether it can mean any secret below a prefix; the empty one is above all."""
        parts = prefix.split("/") if prefix else []
        return (self.has_rest or len(self.components) > len(parts)) and self._agrees_with(parts)

    def _agrees_with(self, parts: list[str]) -> bool:
        pairs = zip(self.components, parts, strict=False)
        return all(wanted in (WILDCARD, part) for wanted, part in pairs)
