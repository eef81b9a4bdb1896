"""What instances tell each other of their keys: which versions each still needs, which seals there, which master each has.

Nothing is destroyed that an instance says it needs, nor while one is silent that was there a moment ago. A beat is sealed, and
later than the one before it, so whoever controls the place it lies in can delay the end of a key and not hasten it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from broker.core.clock import Clock
from broker.keys.envelope import CannotOpen
from broker.keys.opened import OpenedRing

# An instance that was killed never says good-bye. After this nobody waits for it: what it kept on its disk is opened by the
# keys on its disk, which no tombstone takes from it (``opened``).
_FORGOTTEN_AFTER = timedelta(minutes=15)
_CONTEXT = b"keyring-beat/v1/"


@dataclass(frozen=True, slots=True)
class Beat:
    """What an instance says. ``needs``: ids of versions; None while it does not know."""

    host: str
    master: str
    needs: frozenset[str] | None
    seals: Mapping[str, str]


@dataclass(slots=True)
class _Peer:
    beat: Beat
    at: int
    # Since when it is the same, as far as we looked: a host that slept for hours has missed nobody's.
    silent_since: float | None = None


class Fleet:
    """All instances that are heard, but this one."""

    def __init__(self, *, instance: str, opened: OpenedRing, clock: Clock) -> None:
        self._instance = instance
        self._opened = opened
        self._clock = clock
        self._peers: dict[str, _Peer] = {}

    def sealed(self, beat: Beat | None) -> bytes:
        """Ours, to be put where others look; None is good-bye.

        Raises:
            LookupError: There is no KEK yet.
        """
        said: dict[str, Any] = {"at": int(self._clock.now().timestamp() * 1000)}
        if beat is not None:
            needs = None if beat.needs is None else sorted(beat.needs)
            said |= {"host": beat.host, "master": beat.master, "needs": needs, "seals": dict(beat.seals)}
        return self._opened.beats().seal(json.dumps(said).encode(), context=_CONTEXT + self._instance.encode())

    def hear(self, beats: Mapping[bytes, bytes]) -> list[str]:
        """Take what lies there; returns the instances that are no more, whose beats may be taken away."""
        now, over = self._clock.boottime(), []
        wall, fresh = self._clock.now().timestamp() * 1000, set[str]()
        for instance, said in self._said(beats).items():
            if "host" not in said:
                self._peers.pop(instance, None)
                # It stays until everybody has heard it.
                if wall - said["at"] > _FORGOTTEN_AFTER // timedelta(milliseconds=1):
                    over.append(instance)
                continue
            known = self._peers.get(instance)
            if known is None or said["at"] > known.at:
                self._peers[instance] = _Peer(_beat(said), said["at"])
                fresh.add(instance)
        for instance, peer in list(self._peers.items()):
            if instance in fresh:
                continue
            peer.silent_since = now if peer.silent_since is None else peer.silent_since
            if now - peer.silent_since > _FORGOTTEN_AFTER.total_seconds():
                del self._peers[instance]
                over.append(instance)
        return over

    def _said(self, beats: Mapping[bytes, bytes]) -> dict[str, Mapping[str, Any]]:
        """What others said, of what opens."""
        try:
            # Once for all: its keys are derived, and somebody may have put a thousand blobs there.
            envelope = self._opened.beats()
        except LookupError:
            return {}
        found: dict[str, Mapping[str, Any]] = {}
        for name, blob in beats.items():
            instance = name.decode("ascii", "replace")
            if instance != self._instance:
                with contextlib.suppress(CannotOpen):
                    found[instance] = json.loads(envelope.open(blob, context=_CONTEXT + name))
        return found

    @property
    def beats(self) -> Mapping[str, Beat]:
        """What each says, by instance."""
        return {instance: peer.beat for instance, peer in self._peers.items()}

    def needs(self) -> dict[str, Collection[str] | None]:
        """What each needs."""
        return {instance: beat.needs for instance, beat in self.beats.items()}


def _beat(said: Mapping[str, Any]) -> Beat:
    needs = None if said["needs"] is None else frozenset(said["needs"])
    return Beat(host=said["host"], master=said["master"], needs=needs, seals=said["seals"])
