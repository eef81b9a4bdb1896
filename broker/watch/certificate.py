"""Says at /readyz that the certificate which new connections are shown has ended: clients refuse it, and only they would know."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from broker.core.clock import Clock, rfc3339
from broker.core.fault import Fault
from broker.watch.dependencies import Probe


def certificate_probe(expires: Callable[[], datetime], *, clock: Clock) -> Probe:
    """A probe (``broker.watch.dependencies``); ``expires``: when the certificate in force ends, UTC.

    A certificate that has ended is served all the same: who reaches us through a local socket does not look at it, and a clock
    that is wrong at boot must not keep the broker from starting.
    """

    async def ping() -> str | None:
        ends = expires()
        return Fault(f"it ended at {rfc3339(ends)}", code="certificate_expired") if ends <= clock.now() else None

    return ping
