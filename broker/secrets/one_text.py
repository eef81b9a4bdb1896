"""A secret's fields as the one text that some vaults keep, and back again: no two secrets become the same text.

One field ``value`` is its text as it stands, everything else a JSON object of strings. A text that would be read as such an
object is therefore written inside one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from broker.core.secret import Secret
from broker.secrets.provider import VALUE


def fields_of(text: Secret) -> dict[str, Secret]:
    """The members of a JSON object of strings; the field ``value`` where the text is anything else."""
    members = _members(text.reveal())
    return {VALUE: text} if members is None else {name: Secret(value) for name, value in members.items()}


def text_of(fields: Mapping[str, Secret]) -> Secret:
    """The text that ``fields_of`` reads as these."""
    if set(fields) == {VALUE} and _members(fields[VALUE].reveal()) is None:
        return fields[VALUE]
    return Secret(json.dumps({name: value.reveal() for name, value in fields.items()}))


def _members(text: str) -> dict[str, str] | None:
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found or not all(isinstance(value, str) for value in found.values()):
        return None
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object that names a member twice says two things: its text is taken as it stands."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member twice")
    return members
