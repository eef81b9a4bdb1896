"""The ledger among instances, through a Redis that is trusted with nothing.

An entry is sealed and bound to its name, so whoever controls Redis can neither make nor alter nor read one. What they put back is
older and changes nothing; what they delete is put back by every instance that knows it, within a look. News are pushed, and asked
for as well, because a push may be lost.

What is left to them is silence: to keep an entry from an instance. So each instance writes a beat, sealed as well, that says that
it lives and what it knows in sum; an instance that misses another's beat, or knows something else than it does, says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import orjson
from redis import asyncio as redis
from redis.exceptions import RedisError

from broker.core.clock import Clock
from broker.keys.envelope import CannotOpen, Envelope
from broker.revocation.ledger import Entry, Ledger, decoded, encoded, is_over

_ENTRIES = "zerotrust:{shared}:revocations"
_TURN = "zerotrust:{shared}:revocations:turn"
_CHANNEL = "zerotrust:{shared}:revocations"
_BEATS = "zerotrust:{shared}:instances"

# Without a sign of a change everything is read all the same, this often: the sign is anybody's to forge.
_FULL_EVERY = timedelta(seconds=5)
# A subscription is looked after this often while nothing is said.
_LISTEN = timedelta(seconds=5)
_RETRY = timedelta(milliseconds=500)
# What others write into Redis they may write without end: the log says so this often, and nobody waits for all of it.
_SAID_EVERY = timedelta(minutes=1)
_OPENED_AT_ONCE = 200
# Beats come with each look. Longer without one, or out of step, is no matter of a slow moment.
_SILENT_AFTER = timedelta(seconds=3)
# An instance that was killed never says good-bye: after this nobody waits for it any more, and its last beat is taken away.
_FORGOTTEN_AFTER = timedelta(minutes=5)

_ENTRY_CONTEXT = b"revocation/v1/"
_BEAT_CONTEXT = b"revocation-beat/v1/"
# What an instance that ends knows.
_GONE = ""
_ID_BYTES = 8
_NAME_CHARS = 32  # 128 bits

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Peer:
    """Another instance: the moment its last beat names (ms), when we heard it (boot time; None: never fresh), what it knew.

    ``still`` is since when its beat is the same (boot time).
    """

    beat: int
    still: float
    heard: float | None
    knows: str
    in_step: float


def is_told_to_end() -> bool:
    """Whether this task was cancelled.

    To be asked in each round: a timeout of redis-py that runs out at the moment of the cancellation takes it for its own.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Spread:
    """Between one ledger and the others'."""

    def __init__(self, *, client: redis.Redis, envelope: Envelope, name_key: bytes, clock: Clock) -> None:
        """Take a client that has timeouts of its own."""
        self._client = client
        self._envelope = envelope
        self._name_key = name_key
        self._clock = clock
        self._id = secrets.token_hex(_ID_BYTES)
        self._peers: dict[bytes, _Peer] = {}
        # What lay there when it was last read in full, opened: most of it is the same the next time.
        self._lay: dict[tuple[bytes, bytes], Entry | None] = {}
        self._signs: tuple[Any, ...] = ()
        self._full_at = 0.0
        self._pulled = clock.boottime()
        self._failure: str | None = None
        self._quiet_until = 0.0
        self.forged = 0

    async def tell(self, entries: Sequence[Entry]) -> bool:
        """Push to all who listen, and leave it for those who do not; whether Redis took it."""
        try:
            pipeline = self._client.pipeline(transaction=False)
            for name, blob in map(self._sealed, entries):
                pipeline.hset(_ENTRIES, cast("str", name), cast("str", blob))
                pipeline.publish(_CHANNEL, name + blob)
            pipeline.incr(_TURN)
            # A Redis that is full or read-only still passes the message on.
            answers = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            answers = [error]
        # The next look reads all of it, and puts there what did not arrive.
        self._signs = ()
        return not any(isinstance(answer, Exception) for answer in answers)

    async def pull(self, ledger: Ledger) -> list[Entry]:
        """What others wrote there and we did not know; puts there what it lacks of ours. Beats, and counts beats."""
        try:
            heard = await self._pulled_from(ledger)
        except (RedisError, OSError, TimeoutError) as error:
            self._fail(type(error).__name__)
            return []
        self._failure, self._pulled = None, self._clock.boottime()
        return heard

    async def listen(self, take: Callable[[Iterable[Entry]], None]) -> None:
        """Hand over what is pushed. Runs until cancelled."""
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(_CHANNEL)
                    while not is_told_to_end():
                        message = await subscription.get_message(timeout=_LISTEN.total_seconds())
                        if message is not None:
                            take(self._opened_message(message["data"]))
                            self._signs = ()
            except (RedisError, OSError, TimeoutError):
                pass
            if is_told_to_end():
                raise asyncio.CancelledError
            await asyncio.sleep(_RETRY.total_seconds())

    async def reseal(self, ledger: Ledger) -> frozenset[str]:
        """Tell anew what an older key sealed; the ids of the versions that what lies there needs.

        What it says is our ledger's word, not the old entry's: whoever wrote a later one meanwhile loses nothing.

        Raises:
            RedisError, OSError: Nobody knows.
        """
        found = await cast("Awaitable[Mapping[bytes, bytes]]", self._client.hgetall(_ENTRIES))
        ours = {
            name: blob
            for name, blob in found.items()
            if len(name) == _NAME_CHARS and self._opened(name, blob) is not None
        }
        old = {name for name, blob in ours.items() if not self._envelope.is_newest(blob)}
        if old:
            await self.tell([entry for entry in ledger if self._name(entry) in old])
        return frozenset(filter(None, map(self._envelope.version_of, ours.values())))

    async def leave(self) -> None:
        """Say good-bye, so that nobody waits for our beats."""
        try:
            await cast("Awaitable[Any]", self._client.hset(_BEATS, self._id, cast("str", self._beat(_GONE))))
        except (RedisError, OSError, TimeoutError) as error:
            _log.info("revocations: nobody was told that we end: %s", type(error).__name__)

    @property
    def others(self) -> list[str]:
        """The instances that are there beside us."""
        return [name.decode() for name, peer in self._peers.items() if peer.heard is not None]

    def behind(self, ledger: Ledger) -> list[str]:
        """The instances that are there and do not know what we know, or something else."""
        digest = ledger.digest
        return [name for name in self.others if self._peers[name.encode()].knows != digest]

    def fault(self) -> str | None:
        """None while we hear everybody and know what they know."""
        now, patience = self._clock.boottime(), _SILENT_AFTER.total_seconds()
        if self._failure is not None:
            return self._failure
        if now - self._pulled > patience:
            return "not looked at"
        if any(peer.heard is not None and now - peer.heard > patience for peer in self._peers.values()):
            return "an instance is silent"
        if any(peer.heard is not None and now - peer.in_step > patience for peer in self._peers.values()):
            return "an instance knows other revocations"
        return None

    # ---- one look ----

    async def _pulled_from(self, ledger: Ledger) -> list[Entry]:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hset(_BEATS, self._id, cast("str", self._beat(ledger.digest)))
        pipeline.hgetall(_BEATS)
        pipeline.get(_TURN)
        pipeline.hlen(_ENTRIES)
        wrote, beats, *signs = await pipeline.execute(raise_on_error=False)
        for answer in (beats, *signs):
            if isinstance(answer, Exception):
                raise answer
        self._hear(beats, ledger)
        await self._bury()
        heard: list[Entry] = []
        if tuple(signs) != self._signs or self._clock.boottime() >= self._full_at:
            heard = await self._all_of_it(ledger)
            self._signs = tuple(signs)
        if isinstance(wrote, Exception):
            raise wrote
        return heard

    async def _all_of_it(self, ledger: Ledger) -> list[Entry]:
        """Every entry there is; and what Redis lost, or never got, is put there, and what is over taken out."""
        self._full_at = self._clock.boottime() + _FULL_EVERY.total_seconds()
        found = await cast("Awaitable[Mapping[bytes, bytes]]", self._client.hgetall(_ENTRIES))
        opened: dict[bytes, Entry | None] = {}
        for place, (name, blob) in enumerate(found.items()):
            if place % _OPENED_AT_ONCE == 0:
                await asyncio.sleep(0)
            opened[name] = self._opened(name, blob)
        self._lay = {(name, found[name]): entry for name, entry in opened.items()}
        entries = [entry for entry in opened.values() if entry is not None]
        there, now = Ledger(entries), int(self._clock.now().timestamp())
        lacking = [entry for entry in ledger if not is_over(entry, now) and there.take([entry])]
        if lacking:
            await self.tell(lacking)
        if over := [name for name, entry in opened.items() if entry is not None and is_over(entry, now)]:
            await self._client.hdel(_ENTRIES, *cast("list[str]", over))
        return [entry for entry in entries if not is_over(entry, now)]

    # ---- beats ----

    def _beat(self, knows: str) -> bytes:
        now = int(self._clock.now().timestamp() * 1000)
        return self._envelope.seal(orjson.dumps([now, knows]), context=_BEAT_CONTEXT + self._id.encode())

    def _hear(self, beats: Mapping[bytes, bytes], ledger: Ledger) -> None:
        now = self._clock.boottime()
        for name, blob in beats.items():
            if name == self._id.encode():
                continue
            try:
                beat, knows = orjson.loads(self._envelope.open(blob, context=_BEAT_CONTEXT + name))
            except CannotOpen:
                continue
            peer = self._peers.setdefault(name, _Peer(beat=beat, still=now, heard=None, knows=knows, in_step=now))
            # Only one that goes on is alive: an old beat lies there for as long as nobody takes it away.
            if beat > peer.beat:
                peer.beat, peer.still, peer.heard, peer.knows = beat, now, None if knows == _GONE else now, knows
            if peer.heard is None or knows == ledger.digest:
                peer.in_step = now

    async def _bury(self) -> None:
        """Take away the beats of those that are long gone: each start leaves one, and every look reads them all."""
        now = self._clock.boottime()
        gone = [name for name, peer in self._peers.items() if now - peer.still > _FORGOTTEN_AFTER.total_seconds()]
        if gone:
            await self._client.hdel(_BEATS, *cast("list[str]", gone))
        for name in gone:
            del self._peers[name]

    # ---- entries ----

    def _name(self, entry: Entry) -> bytes:
        """Where an entry lies; tells nothing without the key."""
        subject = entry.subject
        parts = orjson.dumps([subject.kind.value, subject.user, subject.which])
        return hmac.new(self._name_key, parts, hashlib.sha256).hexdigest()[:_NAME_CHARS].encode()

    def _sealed(self, entry: Entry) -> tuple[bytes, bytes]:
        name = self._name(entry)
        return name, self._envelope.seal(encoded([entry]), context=_ENTRY_CONTEXT + name)

    def _opened(self, name: bytes, blob: bytes) -> Entry | None:
        """What lies there under this name, where one of us wrote it."""
        if (name, blob) in self._lay:
            return self._lay[name, blob]
        try:
            (entry,) = decoded(self._envelope.open(blob, context=_ENTRY_CONTEXT + name))
        except CannotOpen as error:
            self._count_forged(error.reason)
            return None
        return entry

    def _count_forged(self, reason: str) -> None:
        self.forged += 1
        now = self._clock.boottime()
        if now >= self._quiet_until:
            self._quiet_until = now + _SAID_EVERY.total_seconds()
            _log.warning(
                "revocations: what lies in Redis does not open (%s) and is not believed, %d so far", reason, self.forged
            )

    def _opened_message(self, message: bytes) -> list[Entry]:
        entry = self._opened(message[:_NAME_CHARS], message[_NAME_CHARS:])
        return [] if entry is None else [entry]

    def _fail(self, why: str) -> None:
        if self._failure is None:
            _log.warning("revocations: Redis failed, others are not heard: %s", why)
        self._failure = why
