"""Who may ask at all, as the configuration says it: at the start, and at each reload."""

from __future__ import annotations

from broker.assembly.operators import operators_of
from broker.authz.admission import Admission
from broker.authz.limits import Of
from broker.config.model import Settings


def admission_of(settings: Settings) -> Admission:
    """What ``broker.config.restart.ADMISSION`` names, for the rooms that ask."""
    server = settings.server
    wanted = {Of.PRINCIPAL: server.rate_limit.per_principal, Of.ADDRESS: server.rate_limit.per_address}
    return Admission(
        networks=server.allowed_networks or (),
        proxies=server.trusted_proxies or (),
        rates={of: rate for of, rate in wanted.items() if rate is not None},
        operators=operators_of(settings.admin),
    )
