"""The key that all others are derived from, and its predecessors."""

from __future__ import annotations

from broker.config.model import Settings
from broker.keys.hierarchy import KeyHierarchy


def hierarchy_of(settings: Settings) -> KeyHierarchy:
    """As configured."""
    master, *former = settings.encryption.all_key_bytes()
    return KeyHierarchy(master=master, former=former)
