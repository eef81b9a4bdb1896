"""Sealed blobs, as a store that somebody else controls returns them: what we sealed opens in its place, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from broker.cache.entry import EntrySeal, Spent, Tampered
from broker.core.birth import Births
from broker.core.credentials import Credentials
from broker.core.secret import Secret
from broker.keys.envelope import CannotOpen, Envelope

if TYPE_CHECKING:
    from collections.abc import Iterator

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


CLOCK = StoppedClock()
SEAL = EntrySeal(envelope=ENVELOPE, clock=CLOCK, births=Births(clock=CLOCK, boot="this-boot"))
IDENTITY = b"alice, developer"
CREDENTIALS = Credentials(
    access_key_id="ASIAEXAMPLE000000001",
    secret_access_key=Secret("secret"),
    session_token=Secret("token"),
    expiration=NOON + timedelta(hours=1),
    account="111122223333",
    role_arn="arn:aws:iam::111122223333:role/Developer",
)
ENTRY, _ = SEAL.seal(CREDENTIALS, identity=IDENTITY, lifetime=timedelta(hours=1))


def seeds() -> Iterator[bytes]:
    yield from SEALED
    yield ENTRY


def one_input(data: bytes) -> None:
    judge_envelope(data)
    judge_entry(data)
    # What the fuzzer invents, sealed, is what it was.
    assert ENVELOPE.open(ENVELOPE.seal(data, context=data), context=data) == data


def judge_entry(data: bytes) -> None:
    try:
        held = SEAL.open(data, identity=IDENTITY)
    except (Spent, Tampered):
        assert data != ENTRY
    else:
        assert data == ENTRY
        assert held.credentials == CREDENTIALS


def judge_envelope(data: bytes) -> None:
    try:
        opened = ENVELOPE.open(data, context=CONTEXT)
    except CannotOpen as error:
        assert data not in SEALED
        assert error.reason in {"malformed", "unknown_key", "altered"}
    else:
        assert data in SEALED
        assert opened == PLAINTEXT
