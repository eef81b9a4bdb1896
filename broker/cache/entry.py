"""One set of credentials as it lies in a store: sealed for one asker and one role, and for one life.

Whoever holds the store sees opaque bytes. They open only for the identity and the expiry that they were sealed for, and what
comes out is checked against two clocks: the wall clock, which somebody may set, and the seconds since boot, which nobody can. No
jump of the wall clock, on whichever host, makes an entry live longer.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from broker.core.birth import Birth, Births
from broker.core.clock import Clock
from broker.core.credentials import Credentials
from broker.core.secret import Secret
from broker.keys.envelope import CannotOpen, Envelope

# botocore runs its helper again at every signing once less than 15 minutes are left; clocks may differ by half a minute.
SKEW = timedelta(seconds=30)
SHORTEST_LEFT = timedelta(minutes=15) + SKEW

# Says what the blob is, and in which shape; part of the associated data.
_CONTEXT = b"credentials/v2"
_EXPIRY_BYTES = 8
_NOTHING = timedelta(0)
# Older than any entry lives.
_OLD = timedelta(days=1)


class Spent(Exception):
    """An honest entry that is of no use any more: its life or its key has ended."""


class Tampered(Exception):
    """Not what was sealed for this place. ``reason`` says how it shows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Held(NamedTuple):
    """What an entry holds, and how long it still lives by every clock there is."""

    credentials: Credentials
    left: timedelta

    @property
    def useful(self) -> timedelta:
        """How long it may still be handed out; nothing or less where it may not."""
        return self.left - SHORTEST_LEFT


class EntrySeal:
    """Seals and opens entries. ``identity`` is everything that two askers must share to share credentials."""

    def __init__(self, *, envelope: Envelope, clock: Clock, births: Births) -> None:
        """Take what tells how old something of this host is, with the clock."""
        self._envelope = envelope
        self._clock = clock
        self._births = births
        # How far the wall clock is ahead of the seconds since boot. The most that was ever seen counts for what others sealed:
        # a clock that is set back turns back nothing.
        self._lead = clock.now().timestamp() - clock.boottime()

    def seal(self, credentials: Credentials, *, identity: bytes, lifetime: timedelta) -> tuple[bytes, Held]:
        """The entry, and what it holds. It lives until the credentials end, and never for more than ``lifetime``."""
        now = self._clock.now()
        life = min(credentials.expiration - now, lifetime)
        expiry = int(credentials.expiration.timestamp()).to_bytes(_EXPIRY_BYTES, "big")
        plaintext = orjson.dumps(
            {
                **_members(credentials),
                "made": now.timestamp(),
                **self._births.now().members,
                "life": life.total_seconds(),
            }
        )
        sealed = self._envelope.seal(plaintext, context=_CONTEXT + expiry + identity)
        return expiry + sealed, Held(credentials=credentials, left=life)

    def open(self, entry: bytes, *, identity: bytes) -> Held:
        """What ``seal`` made for the same identity, with more than ``SHORTEST_LEFT`` to live.

        Raises:
            Spent: Its time is over, or its key is none of ours (any more).
            Tampered: It is not such an entry.
        """
        expiry, sealed = entry[:_EXPIRY_BYTES], entry[_EXPIRY_BYTES:]
        try:
            members = orjson.loads(self._envelope.open(sealed, context=_CONTEXT + expiry + identity))
        except CannotOpen as error:
            if error.reason == "unknown_key":
                raise Spent("sealed with a key that is not held") from error
            raise Tampered(error.reason) from error
        credentials = _credentials(members)
        if int(credentials.expiration.timestamp()) != int.from_bytes(expiry, "big"):
            raise Tampered("other_expiry")
        held = Held(credentials=credentials, left=self._left(credentials.expiration, members))
        if held.useful <= _NOTHING:
            raise Spent("its time is over")
        return held

    def _left(self, expiration: datetime, members: dict[str, Any]) -> timedelta:
        now, booted = self._clock.now(), self._clock.boottime()
        self._lead = max(self._lead, now.timestamp() - booted)
        left = expiration - now
        if (age := self._births.age(Birth.of(members))) is not None:
            return min(left, timedelta(seconds=members["life"]) - min(age, _OLD))
        if members["made"] > now.timestamp() + SKEW.total_seconds():
            # Made in the future: the clock of one of the two hosts has been set.
            return _NOTHING
        return min(left, timedelta(seconds=expiration.timestamp() - booted - self._lead))


def _members(credentials: Credentials) -> dict[str, Any]:
    return {
        "access_key_id": credentials.access_key_id,
        "secret_access_key": credentials.secret_access_key.reveal(),
        "session_token": credentials.session_token.reveal(),
        "expiration": int(credentials.expiration.timestamp()),
        "account": credentials.account,
        "role_arn": credentials.role_arn,
        "shed": credentials.shed,
        "minted_by": credentials.minted_by,
    }


def _credentials(members: dict[str, Any]) -> Credentials:
    return Credentials(
        access_key_id=members["access_key_id"],
        secret_access_key=Secret(members["secret_access_key"]),
        session_token=Secret(members["session_token"]),
        expiration=datetime.fromtimestamp(members["expiration"], UTC),
        account=members["account"],
        role_arn=members["role_arn"],
        shed=tuple(members["shed"]),
        # Entries without it are of a broker before 0.1.0, which reads entries with it: a fleet is renewed one by one.
        minted_by=members.get("minted_by"),
    )
