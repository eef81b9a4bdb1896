"""Which region to ask, and which after it: what failed a moment ago is asked last, and finds its way back by itself.

All regions are of one partition (the configuration sees to that): a token of any regional endpoint is valid in all of them,
so that a chain may go on in another region than the one it began in (IAM User Guide, "Manage AWS STS in an AWS Region").
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from broker.core.clock import Clock
from broker.core.happening import Happening
from broker.sts.endpoint import Endpoint

# One request in this time finds out whether a region is back; the others are not kept waiting by it.
_ASKED_LAST = timedelta(seconds=10)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _State:
    """``failure`` is why the last call failed, if that speaks of the region; ``last_until`` (boottime) is 0 for one in health."""

    failure: str | None = None
    last_until: float = 0.0


class Regions:
    """The endpoints, the preferred one first, and how each of them is."""

    def __init__(self, endpoints: Sequence[Endpoint], *, clock: Clock) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._states = {endpoint.region: _State() for endpoint in endpoints}

    def in_order(self) -> list[Endpoint]:
        """All of them, in the order in which this caller should try."""
        now = self._clock.boottime()
        order = sorted(self._endpoints, key=lambda endpoint: self._states[endpoint.region].last_until > now)
        first = self._states[order[0].region]
        if first.last_until:
            # This caller finds out whether it is back; until they know, the next ones begin elsewhere.
            first.last_until = now + _ASKED_LAST.total_seconds()
        return order

    def fell(self, region: str, reason: str) -> None:
        """A call failed for a reason that speaks of the region."""
        if self._states[region].failure != reason:
            _log.warning("STS in %s fails: %s", region, reason, extra=Happening.STS_DOWN.said())
        self._states[region] = _State(reason, self._clock.boottime() + _ASKED_LAST.total_seconds())

    def throttled(self, region: str, reason: str) -> None:
        """A call was one too many there: no reason to ask it last, its quota is refilled every second."""
        if self._states[region].failure != reason:
            _log.warning("STS in %s has no room for more calls: %s", region, reason)
        self._states[region].failure = reason

    def well(self, region: str) -> None:
        """It answered, if only with a refusal."""
        if self._states[region].failure is not None:
            _log.info("STS in %s answers again", region, extra=Happening.STS_BACK.said())
        self._states[region] = _State()

    def failures(self) -> dict[str, str]:
        """The regions whose last call failed, each with the reason."""
        return {region: state.failure for region, state in self._states.items() if state.failure is not None}

    def close(self) -> None:
        """Let go of all."""
        for endpoint in self._endpoints:
            endpoint.close()
