"""Sealed blobs, as a store that somebody else controls returns them: what we sealed opens in its place, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from broker.cache.sealed import CredentialCache
from broker.core.credentials import Credentials
from broker.core.grant import Grant
from broker.core.principal import Principal
from broker.core.roles import Hop, Role, RoleArn, RoleName
from broker.core.secret import Secret
from broker.keys.envelope import CannotOpen, Envelope

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ENVELOPE = Envelope(keys=[b"n" * 32, b"o" * 32])
OLD = Envelope(keys=[b"o" * 32])
CONTEXT = b"what it is"
PLAINTEXT = b"what was sealed"
SEALED = {ENVELOPE.seal(PLAINTEXT, context=CONTEXT), OLD.seal(PLAINTEXT, context=CONTEXT)}


class StoppedClock:
    def now(self) -> datetime:
        return NOON

    def boottime(self) -> float:
        return 0.0


class HostileStore:
    """Returns what the fuzzer likes."""

    def __init__(self) -> None:
        self.entry = b""

    async def get(self, _name: str) -> bytes | None:
        return self.entry

    async def put(self, _name: str, entry: bytes, _ttl: timedelta) -> None:
        self.entry = entry


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


STORE = HostileStore()
CACHE = CredentialCache(store=STORE, envelope=ENVELOPE, name_key=b"k" * 32, clock=StoppedClock())
GRANT = Grant(
    principal=Principal(components=("alice",), realm="EXAMPLE.COM"),
    role=Role(
        name=RoleName("developer"),
        chain=(Hop(RoleArn.parse("arn:aws:iam::111122223333:role/Developer"), None),),
        duration=timedelta(hours=1),
    ),
    rule="developers",
    policy_digest="digest",
    lifetime=timedelta(hours=1),
    ends_at=None,
)
CREDENTIALS = Credentials(
    access_key_id="ASIAEXAMPLE000000001",
    secret_access_key=Secret("secret"),
    session_token=Secret("token"),
    expiration=NOON + timedelta(hours=1),
    account="111122223333",
    role_arn="arn:aws:iam::111122223333:role/Developer",
)
at_once(CACHE.keep(GRANT, CREDENTIALS))
ENTRY = STORE.entry


def seeds() -> Iterator[bytes]:
    yield from SEALED
    yield ENTRY


def one_input(data: bytes) -> None:
    judge_envelope(data)
    STORE.entry = data
    found = at_once(CACHE.find(GRANT))
    assert found is None if data != ENTRY else found == CREDENTIALS
    # What the fuzzer invents, sealed, is what it was.
    assert ENVELOPE.open(ENVELOPE.seal(data, context=data), context=data) == data


def judge_envelope(data: bytes) -> None:
    try:
        opened = ENVELOPE.open(data, context=CONTEXT)
    except CannotOpen as error:
        assert data not in SEALED
        assert error.reason in {"malformed", "unknown_key", "altered"}
    else:
        assert data in SEALED
        assert opened == PLAINTEXT
