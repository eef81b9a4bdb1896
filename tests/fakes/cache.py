"""A cache with fixed keys, a clock that a test moves, and credentials of nobody to keep in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from broker.cache.entry import EntrySeal
from broker.cache.sealed import CredentialCache
from broker.cache.store import MemoryStore
from broker.cache.tamper import TamperAlarm
from broker.core.birth import Births
from broker.core.credentials import Credentials
from broker.core.errors import AuditUnavailable
from broker.core.grant import Grant
from broker.core.principal import NameType, Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.scope import Scope, ScopeName
from broker.core.secret import Secret
from broker.core.tags import SessionTag
from broker.keys.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.audit.event import Event
    from broker.cache.turns import Turns

HOUR = timedelta(hours=1)
KEY, OLD_KEY, NAME_KEY = b"k" * 32, b"o" * 32, b"n" * 32
SECRET, TOKEN, KEY_ID = "canary-secret-access-key", "canary-session-token", "ASIACANARYCANARY0001"


class MovedClock:
    """Stands still until it is moved; the wall clock can be set as well."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
        self.booted = 1000.0

    def now(self) -> datetime:
        return self.moment

    def boottime(self) -> float:
        return self.booted

    def move(self, by: timedelta) -> None:
        """Time passes."""
        self.moment += by
        self.booted += by.total_seconds()

    def set(self, by: timedelta) -> None:
        """Somebody sets the wall clock."""
        self.moment += by


class Records:
    """An audit log in a list, which can be broken."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.broken = False

    async def record(self, event: Event) -> None:
        if self.broken:
            raise AuditUnavailable("no disk")
        self.events.append(event)


def role(name: str) -> Role:
    arn = RoleArn.parse(f"arn:aws:iam::111122223333:role/{name}")
    return Role(name=RoleName(name), chain=(Hop(arn=arn, external_id="x-1"),), duration=HOUR)


GRANT = Grant(
    principal=Principal(("alice",), "EXAMPLE.COM"),
    role=role("developer"),
    rule="engineers",
    policy_digest="d1",
    lifetime=HOUR,
    ends_at=None,
)

SCOPE = Scope(name=ScopeName("readonly"), policy="{}", policy_arns=())
TAG = SessionTag(key="Team", value="blue", transitive=False, optional=False)

# Everything about a grant that makes it another one, one change at a time.
OTHERS = {
    "principal": replace(GRANT, principal=Principal(("mallory",), "EXAMPLE.COM")),
    "case": replace(GRANT, principal=Principal(("Alice",), "EXAMPLE.COM")),
    "realm": replace(GRANT, principal=Principal(("alice",), "PARTNER.EXAMPLE")),
    "components": replace(GRANT, principal=Principal(("alice", "admin"), "EXAMPLE.COM")),
    "name type": replace(GRANT, principal=Principal(("alice",), "EXAMPLE.COM", NameType.SRV_INST)),
    "role": replace(GRANT, role=role("admin")),
    "policy": replace(GRANT, policy_digest="d2"),
    "scope": replace(GRANT, scope=SCOPE),
    "another scope": replace(GRANT, scope=replace(SCOPE, name=ScopeName("other"))),
    "a tag": replace(GRANT, tags=(TAG,)),
    "a tag's value": replace(GRANT, tags=(replace(TAG, value="red"),)),
    "a tag's key": replace(GRANT, tags=(replace(TAG, key="team"),)),
    "two tags": replace(GRANT, tags=(TAG, replace(TAG, key="Crew"))),
    "ticket's end": replace(GRANT, ends_at=1_800_000_000),
}


def credentials(clock: MovedClock, *, lives: timedelta = HOUR, key_id: str = KEY_ID) -> Credentials:
    return Credentials(
        access_key_id=key_id,
        secret_access_key=Secret(SECRET),
        session_token=Secret(TOKEN),
        expiration=clock.now() + lives,
        account="111122223333",
        role_arn="arn:aws:iam::111122223333:role/developer",
    )


def cache_of(
    clock: Any,
    *keys: bytes,
    turns: Turns | None = None,
    near: MemoryStore | None = None,
    name_key: bytes = NAME_KEY,
    epoch: Callable[[Principal], int] = lambda _: 0,
    boot: str = "this-boot",
    records: Records | None = None,
) -> CredentialCache:
    """Of one process, or with ``turns`` one of many."""
    return CredentialCache(
        near=near or MemoryStore(clock=clock),
        turns=turns,
        seal=EntrySeal(envelope=Envelope(keys=keys or (KEY,)), clock=clock, births=Births(clock=clock, boot=boot)),
        name_key=name_key,
        epoch=epoch,
        alarm=TamperAlarm(audit=cast("Any", records or Records()), clock=clock),
    )


async def keep(cache: CredentialCache, grant: Grant, kept: Credentials) -> None:
    """As a fetch does that ended well; whatever others have is looked at and overwritten."""
    async with cache.turn(grant) as turn:
        await turn.keep(kept)
