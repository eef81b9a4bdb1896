"""The key that all others are derived from, and its predecessors."""

from __future__ import annotations

from broker.config.encryption import Encryption
from broker.keys.hierarchy import KeyHierarchy


def hierarchy_of(section: Encryption) -> KeyHierarchy:
    """As configured."""
    master, *former = section.all_key_bytes()
    return KeyHierarchy(master=master, former=former)
