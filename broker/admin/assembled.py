"""What commands are given by the program's entry point, because only the assembly can make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.config.model import Settings
from broker.reports.facts import KeyAge, Setup
from broker.trust.finding import Finding


@dataclass(frozen=True, slots=True)
class Assembled:
    """What of it each command needs.

    ``probe`` tries external IDs with the broker's own credentials, ``caller`` says whose these are; see ``assembly.probe``.
    ``setup`` is what a report says of the configuration, ``key_ages`` reads the keys themselves; see ``assembly.evidence``.
    ``own_keys`` are those that verify the log, an HSM's among them; see ``assembly.audit``.
    """

    probe: Callable[[Settings], Sequence[Finding]]
    caller: Callable[[Settings], str]
    setup: Callable[[Settings], Setup]
    key_ages: Callable[[Settings], Sequence[KeyAge]]
    own_keys: Callable[[Settings], Mapping[str, Any]]
