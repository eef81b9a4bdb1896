"""What STS gave, and what we hand on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from broker.core.secret import Secret


@dataclass(frozen=True, slots=True)
class Credentials:
    """One set of temporary credentials. ``expiration`` is timezone-aware."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret
    expiration: datetime
    account: str
    role_arn: str
