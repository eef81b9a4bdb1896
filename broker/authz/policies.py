"""The policy in force, and who is admitted.

A request reads it once, when it is decided; what follows goes by the grant. So no request mixes two policies, and none that is
decided after a change goes by what was before.
"""

from __future__ import annotations

from broker.authz.admission import Admission
from broker.authz.policy import Policy


class Policies:
    """Where one policy takes another's place, and one admission another's, each by one assignment."""

    def __init__(self, policy: Policy, *, admission: Admission | None = None) -> None:
        self.current = policy
        self.admission = admission or Admission()
