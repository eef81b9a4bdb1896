"""One master key, and a key of its own for every use, told apart by label.

A derived key is HKDF-SHA256 (RFC 5869) of the master key with the label as ``info``. No key is used for two things, and a
label carries a version, so that a use can change its key without touching the others.

Keys that change daily carry the day in their label too, so that every instance with the same master key has them at the same
moment and nobody stores or sends any.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.core.clock import Clock
from broker.keys.envelope import KEY_BYTES, Envelope

# An instance whose clock is ahead seals with tomorrow's key.
_TOMORROW = 1


class Use(enum.Enum):
    """Every use of a key in the house."""

    CACHE_SEAL = b"zerotrust/cache-seal/v1"
    CACHE_NAME = b"zerotrust/cache-name/v1"
    AUDIT_SIGNATURE = b"zerotrust/audit-signature/v1"
    SESSION_SEAL = b"zerotrust/session-seal/v1"
    JOB_PASS_SEAL = b"zerotrust/job-pass-seal/v1"
    JOB_PASS_ENTRY = b"zerotrust/job-pass-entry/v1"
    WEB_IDENTITY_SIGNATURE = b"zerotrust/web-identity-signature/v1"
    REVOCATION_SEAL = b"zerotrust/revocation-seal/v1"
    ELEVATION_SEAL = b"zerotrust/elevation-seal/v1"
    ELEVATION_NAME = b"zerotrust/elevation-name/v1"
    REVOCATION_NAME = b"zerotrust/revocation-name/v1"
    NOTIFICATION_SEAL = b"zerotrust/notification-seal/v1"
    WATCH_SEAL = b"zerotrust/watch-seal/v1"
    WATCH_NAME = b"zerotrust/watch-name/v1"


class KeyHierarchy:
    """Derives; holds nothing but the master key, and those that it followed."""

    def __init__(self, *, master: bytes, former: Sequence[bytes] = ()) -> None:
        """Take the master key, and its predecessors, the latest first.

        Raises:
            ValueError: One of them is not 32 bytes.
        """
        for key in (master, *former):
            if len(key) != KEY_BYTES:
                raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(key)}")
        self._masters = (master, *former)

    def derive(self, use: Use, *, period: int | None = None, length: int = KEY_BYTES) -> bytes:
        """The key for one use, in one period where the use has periods; of 32 bytes, unless the use needs another ``length``."""
        return self.derive_all(use, period=period, length=length)[0]

    def derive_all(self, use: Use, *, period: int | None = None, length: int = KEY_BYTES) -> list[bytes]:
        """The same of every master key, the one in force first: it seals, all of them open."""
        label = use.value if period is None else b"%b/%d" % (use.value, period)
        return [
            HKDF(algorithm=SHA256(), length=length, salt=None, info=label).derive(master) for master in self._masters
        ]


class DailyEnvelope:
    """An envelope whose keys change at midnight UTC. What it sealed opens for so many ``days`` at least, one more at most."""

    def __init__(self, *, hierarchy: KeyHierarchy, use: Use, clock: Clock, days: int = 1) -> None:
        self._hierarchy = hierarchy
        self._use = use
        self._clock = clock
        # Counted from today, whose key seals; what was sealed late on a day opens until late on the last of these.
        self._days = (0, _TOMORROW, *range(-1, -days - 1, -1))
        self._made = self._made_on(clock.now())

    def now(self) -> Envelope:
        """Today's."""
        moment = self._clock.now()
        if moment.toordinal() != self._made[0]:
            self._made = self._made_on(moment)
        return self._made[1]

    def _made_on(self, moment: datetime) -> tuple[int, Envelope]:
        day = moment.toordinal()
        keys = [self._hierarchy.derive_all(self._use, period=day + days) for days in self._days]
        # The first one seals: today's of the master key that is in force.
        return day, Envelope(keys=[key for of_a_day in keys for key in of_a_day])
