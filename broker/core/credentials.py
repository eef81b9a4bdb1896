"""What STS gave, and what we hand on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from broker.core.secret import Secret


@dataclass(frozen=True, slots=True)
class Credentials:
    """One set of temporary credentials. ``expiration`` is timezone-aware.

    ``shed`` are the keys of optional tags that AWS had no room for. ``packed_percent`` is how much of that room the session
    takes, as STS said when it made them; None where it did not, or where they come from the cache. ``minted_by`` is the id of the
    request that they were made for, whoever is given them later; None where an older broker made them.
    """

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret
    expiration: datetime
    account: str
    role_arn: str
    shed: tuple[str, ...] = ()
    packed_percent: int | None = None
    minted_by: str | None = None
