"""The keys of a running broker, and those that a program of its own may read."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from redis import asyncio as redis

from broker.assembly.master import Master, master_of, wait_for
from broker.assembly.shared import redis_client
from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.config.model import Settings
from broker.config.resolve import IntegratedBootstrap
from broker.core.clock import Clock, SystemClock
from broker.core.errors import AuditUnavailable, ConfigurationError
from broker.keys.courier import Courier
from broker.keys.duties import Duties
from broker.keys.envelope import KEY_BYTES
from broker.keys.hierarchy import KeyHierarchy
from broker.keys.hierarchy import Kind as KeyKind
from broker.keys.master.port import MasterUnavailable
from broker.keys.replica import KeysFailed, Replica
from broker.keys.ringfile import RingDamaged, RingFile
from broker.keys.rotation import Schedule
from broker.secrets.resealing import Resealing
from broker.secrets.vault import Vault
from broker.watch.metrics import Metrics

_INSTANCE_BYTES = 8


@dataclass(slots=True)
class Keys:
    """What keeps them, and what is done about them."""

    replica: Replica
    duties: Duties
    client: redis.Redis | None
    master: Master
    audit: AuditLog | None = None

    @property
    def hierarchy(self) -> KeyHierarchy:
        """Where everybody gets theirs."""
        return self.replica.hierarchy

    def keep_sealed(self, vault: Vault) -> None:
        """Let the vault's seals follow, and its needs keep keys."""
        store = Resealing(vault=vault, hierarchy=self.hierarchy, all_versions=lambda: self.replica.opened.held)
        self.replica.register(store)

    @property
    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """What goes on beside requests."""
        return (self.duties.keep_doing, self.replica.keep_resealing, *self.master.background)

    async def close(self) -> None:
        """Let go."""
        await self.replica.close()
        if self.client is not None:
            await self.client.aclose()


async def keys_of(settings: Settings, *, clock: Clock) -> Keys:
    """The keys of a broker that is about to start: read, heard from others, and made where there are none.

    Raises:
        ConfigurationError: The file cannot be believed, or the master key never be asked.
        MasterUnavailable, KeysFailed: There are no keys, and none can be had now.
    """
    master = master_of(settings, clock=clock)
    await wait_for(master.key)
    client = redis_client(settings.redis) if settings.redis else None
    instance = secrets.token_hex(_INSTANCE_BYTES)
    replica = Replica(
        instance=instance,
        file=RingFile(directory=settings.state_directory),
        courier=Courier(client=client, instance=instance) if client else None,
        master=master.key,
        own=settings.encryption.all_key_bytes(),
        patience=settings.encryption.master_patience,
        clock=clock,
    )
    keys = Keys(replica=replica, duties=_duties(settings, replica), client=client, master=master)
    keys.duties.tell = partial(_tell, keys)
    try:
        await replica.open()
    except (RingDamaged, OSError) as error:
        raise ConfigurationError([_unusable(error)]) from error
    await keys.duties.begin()
    return keys


def hierarchy_of(settings: Settings) -> KeyHierarchy:
    """The keys as the disk of this host has them, for a program of its own: nothing is written. Not within an event loop.

    Raises:
        ConfigurationError: They cannot be believed, or nothing opens them now.
    """
    return asyncio.run(read_keys(settings))


async def read_keys(settings: Settings | IntegratedBootstrap) -> KeyHierarchy:
    """The same within an event loop. Where nothing was ever made, keys that open nothing: the first start makes the first."""
    clock = SystemClock()
    replica = Replica(
        instance="",
        file=RingFile(directory=settings.state_directory),
        courier=None,
        master=master_of(settings, clock=clock).key,
        own=settings.encryption.all_key_bytes(),
        patience=settings.encryption.master_patience,
        clock=clock,
    )
    try:
        await replica.read()
    except (RingDamaged, OSError) as error:
        raise ConfigurationError([_unusable(error)]) from error
    except MasterUnavailable as error:
        raise ConfigurationError([f"encryption: the master key: {error} — fix: bring it back"]) from error
    finally:
        await replica.close()
    is_made = replica.opened.own_ids or replica.opened.ring.entries
    return replica.hierarchy if is_made else KeyHierarchy(master=secrets.token_bytes(KEY_BYTES))


def add_gauges(metrics: Metrics, keys: Keys) -> None:
    """Ages, and what is due, in seconds."""
    replica, duties = keys.replica, keys.duties
    for kind in (KeyKind.DATA, KeyKind.SESSION):
        metrics.gauge(
            f"broker_{kind}_key_age_seconds",
            f"Since when the newest {kind} key is there",
            partial(duties.age, kind),
        )
        metrics.gauge(
            f"broker_{kind}_key_due_seconds",
            f"In how many seconds a new {kind} key is due; less than nothing where it is late",
            partial(duties.due_in, kind),
        )
    metrics.gauge("broker_master_key_due_seconds", "The same of the master key", partial(duties.due_in, None))
    metrics.gauge(
        "broker_keys_foreign_entries",
        "Entries of the keyring that none of us made, or that another master key wrapped",
        lambda: float(replica.opened.strangers),
    )


def _duties(settings: Settings, replica: Replica) -> Duties:
    wanted = settings.encryption.rotation
    schedule = Schedule(master=wanted.master, data=wanted.data, session=wanted.session)
    return Duties(replica=replica, schedule=schedule)


_KINDS = {
    "key_rotated": Kind.KEY_ROTATED,
    "key_rewrapped": Kind.KEY_REWRAPPED,
    "key_destroyed": Kind.KEY_DESTROYED,
}


async def _tell(keys: Keys, what: str, details: Mapping[str, object]) -> None:
    """On record, as far as there is a log yet; that it cannot be written is said loudly elsewhere, and undoes no key."""
    if keys.audit is None:
        return
    event = Event(action="keep_keys", resource=str(details.get("kind", "kek")), details=dict(details))
    event.done(_KINDS[what])
    try:
        await keys.audit.record(event)
    except AuditUnavailable as error:
        raise KeysFailed(f"done, and not on record: {error}") from error


def _unusable(error: Exception) -> str:
    fix = "put back a copy, or the key that it was sealed with; nobody makes new keys over it"
    return f"state.directory: {error}, so what was sealed with its keys cannot be opened — fix: {fix}"
