"""Who may ask at all, from where and how often, and who operates the broker: this changes as policies do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.authz.limits import Of
from broker.authz.operators import Operators
from broker.core.rate import Rate
from broker.core.rule import Network, Requirements

_NOBODY = Operators(patterns=(), require=Requirements())


@dataclass(frozen=True, slots=True)
class Admission:
    """What comes before every question of who may have what.

    ``networks``: from where somebody may ask; none for anywhere. ``proxies``: whose word on a client's address counts.
    """

    networks: tuple[Network, ...] = ()
    proxies: tuple[Network, ...] = ()
    rates: Mapping[Of, Rate] = field(default_factory=dict)
    operators: Operators = _NOBODY
