"""A key of its own for every use, told apart by label, derived from key versions that follow each other while the broker runs.

A derived key is HKDF-SHA256 (RFC 5869) of a key version with the label as ``info``. No key is used for two things, and a
label carries a version of its own, so that a use can change its key without touching the others.

Key versions are of four kinds, because they live differently long. The first of a list seals, all of them open; the list
changes at run time, and whoever holds an envelope of a hierarchy follows without being told. Deriving happens when the list
changes, never when something is sealed.

Keys that change daily carry the day in their label too, so that every instance with the same versions has them at the same
moment and nobody stores or sends any.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.core.clock import Clock
from broker.core.errors import KeysUnavailable
from broker.keys.envelope import KEY_BYTES, Envelope

# An instance whose clock is ahead seals with tomorrow's key.
_TOMORROW = 1
_ID_CHARS = 16  # 64 bits: an operator reads them, and nobody makes two by chance


class Kind(enum.StrEnum):
    """What a key version is for. ``NAME`` keys change what things are called, so whatever has a name is found no more."""

    DATA = "data"
    SESSION = "session"
    NAME = "name"
    SIGNING = "signing"


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
    CONFIGURATION_SEAL = b"zerotrust/configuration-seal/v1"
    CONFIGURATION_NAME = b"zerotrust/configuration-name/v1"
    WATCH_NAME = b"zerotrust/watch-name/v1"
    VAULT_SEAL = b"zerotrust/vault-seal/v1"
    INSTANCE_SEAL = b"zerotrust/instance-seal/v1"
    ROLL_SEAL = b"zerotrust/roll-seal/v1"
    ROLL_NAME = b"zerotrust/roll-name/v1"

    @property
    def kind(self) -> Kind:
        """Whose versions it is derived from."""
        return _OTHER_THAN_DATA.get(self, Kind.DATA)


_OTHER_THAN_DATA = {
    Use.CACHE_NAME: Kind.NAME,
    Use.ELEVATION_NAME: Kind.NAME,
    Use.REVOCATION_NAME: Kind.NAME,
    Use.WATCH_NAME: Kind.NAME,
    Use.CONFIGURATION_NAME: Kind.NAME,
    Use.JOB_PASS_ENTRY: Kind.NAME,
    Use.ROLL_NAME: Kind.NAME,
    Use.SESSION_SEAL: Kind.SESSION,
    Use.JOB_PASS_SEAL: Kind.SESSION,
    # Notes of sessions and passes, for as long as these live: its versions rest no longer than that, and nothing is re-sealed.
    Use.ROLL_SEAL: Kind.SESSION,
    Use.AUDIT_SIGNATURE: Kind.SIGNING,
    Use.WEB_IDENTITY_SIGNATURE: Kind.SIGNING,
}


# What goes on while keys are withheld: nobody is given anything by it, and without it revocations would not be heard.
HOUSEKEEPING = frozenset({Use.REVOCATION_SEAL, Use.NOTIFICATION_SEAL, Use.WATCH_SEAL})


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One version of a kind: 32 bytes, and what they are called where nobody may see them."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(self.key)}")

    @property
    def id(self) -> str:
        """The same wherever the same bytes are."""
        return hashlib.sha256(b"zerotrust/key-version/v1" + self.key).hexdigest()[:_ID_CHARS]


# The one that seals first, then every other that opens.
Versions = Mapping[Kind, Sequence[KeyVersion]]


class KeyHierarchy:
    """Derives from the versions in force; holds nothing else."""

    def __init__(self, *, master: bytes, former: Sequence[bytes] = ()) -> None:
        """Take a master key that is its own version of every kind, and its predecessors, the latest first.

        Raises:
            ValueError: One of them is not 32 bytes.
        """
        own = [KeyVersion(key) for key in (master, *former)]
        self._versions: Versions = dict.fromkeys(Kind, own)
        self._is_withheld = False
        self._envelopes: dict[Use, Envelope] = {}
        # Changes whenever the versions do.
        self.turn = 0

    @classmethod
    def of(cls, versions: Versions) -> KeyHierarchy:
        """One of versions that no master key stands for."""
        made = cls(master=bytes(KEY_BYTES))
        made.take(versions)
        return made

    def take(self, versions: Versions) -> None:
        """From here on these are in force, in every envelope."""
        if versions != self._versions or self._is_withheld:
            self._versions, self._is_withheld = versions, False
            self.turn += 1
            for use, envelope in self._envelopes.items():
                envelope.hold(self._derived(use))

    def withhold(self) -> None:
        """From here on nothing is sealed, opened or derived, until versions are taken again; but for housekeeping."""
        self._is_withheld = True
        self.turn += 1
        for use, envelope in self._envelopes.items():
            if use not in HOUSEKEEPING:
                envelope.withhold()

    def envelope(self, use: Use) -> Envelope:
        """The one for this use, whose keys follow the versions.

        Raises:
            KeysUnavailable: They are withheld.
        """
        if use not in self._envelopes:
            self._envelopes[use] = Envelope.of(self._derived(use))
        return self._envelopes[use]

    def sealing(self, kind: Kind) -> str:
        """The id of the version that seals, or would.

        Raises:
            LookupError: There is none yet.
        """
        return self._of(kind, is_withheld=False)[0].id

    def derive(self, use: Use, *, period: int | None = None, length: int = KEY_BYTES) -> bytes:
        """The key for one use, in one period where the use has periods; of 32 bytes, unless the use needs another ``length``.

        Raises:
            KeysUnavailable: They are withheld.
        """
        return self.derive_all(use, period=period, length=length)[0]

    def derive_all(self, use: Use, *, period: int | None = None, length: int = KEY_BYTES) -> list[bytes]:
        """The same of every version, the one in force first: it seals, all of them open.

        Raises:
            KeysUnavailable: They are withheld.
        """
        return [key for _, key in self._derived(use, period=period, length=length)]

    def for_envelope(self, use: Use, *, period: int) -> list[tuple[str, bytes]]:
        """The keys of a period, each with the version that it is of.

        Raises:
            KeysUnavailable: They are withheld.
        """
        return self._derived(use, period=period)

    def _derived(self, use: Use, *, period: int | None = None, length: int = KEY_BYTES) -> list[tuple[str, bytes]]:
        label = use.value if period is None else b"%b/%d" % (use.value, period)
        return [
            (version.id, HKDF(algorithm=SHA256(), length=length, salt=None, info=label).derive(version.key))
            for version in self._of(use.kind, is_withheld=self._is_withheld and use not in HOUSEKEEPING)
        ]

    def _of(self, kind: Kind, *, is_withheld: bool) -> Sequence[KeyVersion]:
        if is_withheld:
            raise KeysUnavailable(reason="keys_withheld")
        versions = self._versions.get(kind)
        if not versions:
            raise LookupError(f"there is no {kind} key yet")
        return versions


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
        """Today's.

        Raises:
            KeysUnavailable: There are none.
        """
        moment, made = self._clock.now(), self._made
        if moment.toordinal() != made[0] or self._hierarchy.turn != made[1]:
            self._made = made = self._made_on(moment)
        return made[2]

    def _made_on(self, moment: datetime) -> tuple[int, int, Envelope]:
        # The turn before the keys: whoever changes them meanwhile makes this envelope old, not forgotten.
        day, turn = moment.toordinal(), self._hierarchy.turn
        keys = [self._hierarchy.for_envelope(self._use, period=day + days) for days in self._days]
        # The first one seals: today's of the version that is in force.
        return day, turn, Envelope.of([key for of_a_day in keys for key in of_a_day])
