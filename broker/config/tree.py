"""The configuration before it is validated: plain values, and where each of them came from."""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.config.fault import Problem
from broker.core.secret import Unasked

Path = tuple[str | int, ...]
Value = str | int | bool | tuple["Value", ...] | dict[str, "Value"] | Unasked | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value stands. ``shown``: a report may quote it, because it is plain text of the configuration file."""

    place: str
    shown: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """Where in the vault a value stands. ``field``: None for the only one that the secret has."""

    secret: str
    field: str | None


@dataclass(slots=True)
class Tree:
    """Values by path, their origins, and the problems met so far.

    ``refused`` are the paths that already have a problem; validation adds no second one for them. ``references`` are the keys
    whose values stand in the vault, with where; ``sealed`` those whose values are sealed text. ``may_be_well_later``: one problem
    is that the vault does not answer.
    """

    root: Origin
    data: dict[str, Value] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[Path] = field(default_factory=set)
    references: dict[Path, Reference] = field(default_factory=dict)
    sealed: list[Path] = field(default_factory=list)
    may_be_well_later: bool = False

    def origin(self, path: Path) -> Origin:
        """Of the value at ``path``, or of the nearest mapping or list around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return self.root

    def note(self, place: str, path: Path, what: str, fix: str) -> None:
        """A problem that says nothing about the value at ``path``."""
        self.problems.append(Problem(place, path, what, fix))

    def refuse(self, path: Path, what: str, fix: str, *, place: str | None = None) -> None:
        """A problem of the value at ``path``; ``place`` if it is not where the value stands."""
        self.refused.add(path)
        self.note(place or self.origin(path).place, path, what, fix)

    def is_refused(self, path: Path) -> bool:
        """Whether the value, or something around it, has a problem already."""
        return any(path[:length] in self.refused for length in range(len(path) + 1))

    def set(self, path: tuple[str, ...], value: Value, origin: Origin) -> None:
        """Set a value below sections only (no lists on the way), making sections that are absent."""
        node = self.data
        for depth, part in enumerate(path[:-1], start=1):
            if part not in node:
                node[part] = {}
                self.origins[path[:depth]] = origin
            inner = node[part]
            if not isinstance(inner, dict):
                return  # the section itself is no mapping, and validation says so
            node = inner
        node[path[-1]] = value
        self.origins[path] = origin

    def replace(self, path: Path, value: Value) -> None:
        """Another value at ``path``, which lies in a mapping that is there; nobody may be shown it."""
        node: Value = self.data
        for part in path[:-1]:
            node = node[part] if isinstance(node, dict | tuple) else None  # type: ignore[index]
        assert isinstance(node, dict)  # noqa: S101  # whoever found something there went the same way
        node[str(path[-1])] = value
        self.origins[path] = Origin(self.origin(path).place, shown=False)

    def clear(self, path: tuple[str, ...]) -> None:
        """Forget the value at ``path``, its origins and its problems, for another source speaks for it."""
        depth = len(path)
        gone = {known for known in self.refused if known[:depth] == path}
        self.refused -= gone
        self.problems = [problem for problem in self.problems if problem.path not in gone]
        self.origins = {known: where for known, where in self.origins.items() if known[:depth] != path}
        node: Value = self.data
        for part in path[:-1]:
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(path[-1], None)
