"""A rule about secrets as the operator writes it: who, from where, with what kind of ticket, may do what with which of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from broker.core.rule import Naming
from broker.core.secret_path import PathPattern


class Action(enum.StrEnum):
    """What a rule allows."""

    # To see that it is there, its versions and what is said about it; never a value.
    LIST = "list"
    READ = "read"
    # New versions, and what is said about it.
    WRITE = "write"
    # And to take that back.
    DELETE = "delete"
    # For good.
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True)
class SecretRule(Naming):
    """Whoever it names, to do some things with some secrets."""

    paths: tuple[PathPattern, ...]
    actions: frozenset[Action]

    def covers(self, path: str, action: Action) -> bool:
        """Whether it allows this to be done with a secret."""
        return action in self.actions and any(pattern.matches(path) for pattern in self.paths)

    def covers_below(self, prefix: str, action: Action) -> bool:
        """Whether it allows this with any secret that could lie below a prefix."""
        return action in self.actions and any(pattern.reaches_below(prefix) for pattern in self.paths)
