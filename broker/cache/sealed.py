"""Credentials into the store and out of it, so that the store is trusted with nothing.

Whoever controls the store sees opaque names (a keyed hash) and sealed blobs. A blob opens only for the principal, role, scope,
tags, policy, lifetime and expiry it was made for, and what comes out is checked once more against the clock: a blob that was
swapped, altered, cut or kept too long is a miss.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from datetime import UTC, datetime, timedelta

from broker.cache.store import Store
from broker.core.clock import Clock
from broker.core.credentials import Credentials
from broker.core.grant import Grant
from broker.core.secret import Secret
from broker.keys.envelope import CannotOpen, Envelope

# botocore runs its helper again at every signing once less than 15 minutes are left; clocks may differ by half a minute.
SHORTEST_LEFT = timedelta(minutes=15, seconds=30)
# From here on a new set is fetched, so that nobody comes near the line above.
REFRESH_AT = timedelta(minutes=20)

_PREFIX = "zerotrust:credentials:"
_EXPIRY_BYTES = 8

_log = logging.getLogger(__name__)


class CredentialCache:
    """Takes nothing but a Grant, so nobody can look up by a name and forget the realm."""

    def __init__(self, *, store: Store, envelope: Envelope, name_key: bytes, clock: Clock) -> None:
        self._store = store
        self._envelope = envelope
        self._name_key = name_key
        self._clock = clock

    async def find(self, grant: Grant) -> Credentials | None:
        """Credentials with more than ``SHORTEST_LEFT`` to live, or None."""
        entry = await self._store.get(self.name(grant))
        if entry is None:
            return None
        expiry, blob = entry[:_EXPIRY_BYTES], entry[_EXPIRY_BYTES:]
        try:
            credentials = _decode(self._envelope.open(blob, context=_context(grant, expiry)))
        except CannotOpen as error:
            _log.warning("cache: an entry does not open (%s) and is not used", error.reason)
            return None
        if credentials.expiration.timestamp() != int.from_bytes(expiry, "big"):
            return None
        return credentials if self.left(credentials) > SHORTEST_LEFT else None

    async def keep(self, grant: Grant, credentials: Credentials) -> None:
        """Seal and store, until they are of no use to anybody."""
        ttl = self.left(credentials) - SHORTEST_LEFT
        if ttl <= timedelta(0):
            return
        expiry = int(credentials.expiration.timestamp()).to_bytes(_EXPIRY_BYTES, "big")
        blob = self._envelope.seal(_encode(credentials), context=_context(grant, expiry))
        await self._store.put(self.name(grant), expiry + blob, ttl)

    def is_due(self, grant: Grant, credentials: Credentials) -> bool:
        """Whether a new set should be fetched already; not where the ticket's end would end it no later."""
        # Never in the first half of the useful life: a role of 20 minutes would be fetched anew for every request.
        half = SHORTEST_LEFT + (grant.lifetime - SHORTEST_LEFT) / 2
        return grant.ends_at is None and self.left(credentials) <= min(REFRESH_AT, half)

    def left(self, credentials: Credentials) -> timedelta:
        """How long they still live."""
        return credentials.expiration - self._clock.now()

    def name(self, grant: Grant) -> str:
        """Where a grant's credentials lie; tells nothing without the key."""
        digest = hmac.new(self._name_key, _identity(grant), hashlib.sha256).hexdigest()
        return _PREFIX + digest


def _identity(grant: Grant) -> bytes:
    """Everything that must be equal for two requests to share credentials. JSON, so no part runs into its neighbour."""
    principal = grant.principal
    parts = [
        list(principal.components),
        principal.realm,
        int(principal.name_type),
        grant.role.name,
        grant.scope.name if grant.scope else None,
        grant.policy_digest,
        grant.ends_at,
        [[tag.key, tag.value] for tag in grant.tags],
    ]
    return json.dumps(parts, separators=(",", ":")).encode()


def _context(grant: Grant, expiry: bytes) -> bytes:
    return b"credentials/v1" + expiry + _identity(grant)


def _encode(credentials: Credentials) -> bytes:
    return json.dumps(
        {
            "access_key_id": credentials.access_key_id,
            "secret_access_key": credentials.secret_access_key.reveal(),
            "session_token": credentials.session_token.reveal(),
            "expiration": int(credentials.expiration.timestamp()),
            "account": credentials.account,
            "role_arn": credentials.role_arn,
            "shed": credentials.shed,
        }
    ).encode()


def _decode(plaintext: bytes) -> Credentials:
    members = json.loads(plaintext)
    return Credentials(
        access_key_id=members["access_key_id"],
        secret_access_key=Secret(members["secret_access_key"]),
        session_token=Secret(members["session_token"]),
        expiration=datetime.fromtimestamp(members["expiration"], UTC),
        account=members["account"],
        role_arn=members["role_arn"],
        shed=tuple(members["shed"]),
    )
