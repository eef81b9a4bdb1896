"""What the integrated vault says beside ``broker.remote.failure``: each a special case of a kind that every caller knows."""

from __future__ import annotations

from broker.remote.failure import Refused


class Unfit(Refused):
    """What was asked for is nothing that the vault keeps: a path, a field, a number, a text. The message names fault and fix."""


class Expired(Refused):
    """The secret is there, and past the date that its metadata sets: nobody reads it until the date is moved."""


class Archived(Refused):
    """The secret is there and put away: nobody reads or writes it until it is taken back."""
