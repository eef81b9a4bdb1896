"""One instance: what an acknowledgement waits for, and what waits for nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from broker.core.clock import SystemClock
from broker.core.errors import RevocationsUnavailable, Revoked
from broker.core.principal import Principal
from broker.keys.hierarchy import KeyHierarchy
from broker.revocation import epochs as module
from broker.revocation.epochs import Epochs
from broker.revocation.ledger import EVERY_ROLE, Kind, Subject
from tests.fakes.epochs import epochs_without_redis, ledger_file

KEYS = KeyHierarchy(master=b"m" * 32)
ALICE = Principal.parse("alice@R")
SESSIONS = Subject(Kind.USER, "alice@R")
HOLD = Subject(Kind.CREDENTIALS, "alice@R", EVERY_ROLE)


@pytest.fixture
async def epochs() -> Epochs:
    return epochs_without_redis(KEYS, clock=SystemClock())


@pytest.fixture
def stuck(epochs: Epochs, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that answers once the event is set."""
    answers = threading.Event()
    keep = epochs._file.keep

    def slow(*heard: Any, **more: Any) -> Any:
        answers.wait(20)
        return keep(*heard, **more)

    monkeypatch.setattr(epochs._file, "keep", slow)
    monkeypatch.setattr(module, "_DISK", timedelta(milliseconds=100))
    yield answers
    answers.set()


async def test_a_disk_that_hangs_is_no_acknowledgement_holds_nobody_up_and_is_used_again(
    epochs: Epochs, stuck: threading.Event
) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(RevocationsUnavailable):
        await epochs.enter([HOLD], by="root")
    with pytest.raises(Revoked):
        epochs.require(ALICE)
    assert "does not answer" in str(await epochs.ping())
    started = loop.time()
    with pytest.raises(RevocationsUnavailable):
        await epochs.enter([SESSIONS], by="root")
    assert loop.time() - started < 0.09, "nobody queues up behind it"
    stuck.set()
    await asyncio.sleep(0.2)
    await epochs.open()
    assert await epochs.ping() is None
    assert {entry.subject for entry in epochs._file.read()} == {HOLD, SESSIONS}


async def test_one_instance_alone_is_told_and_has_nobody_to_wait_for(epochs: Epochs) -> None:
    assert await epochs.enter([SESSIONS], by="root")
    assert await epochs.heard_everywhere(timedelta(seconds=5)) == []
    assert await epochs.ping() is None


async def test_what_was_entered_is_known_after_a_restart(epochs: Epochs) -> None:
    await epochs.enter([SESSIONS, HOLD], by="root")
    again = Epochs(file=epochs._file, spread=None, clock=SystemClock())
    assert again.of(ALICE) == epochs.of(ALICE) > 0
    with pytest.raises(Revoked):
        again.require(ALICE)


async def test_each_revocation_raises_the_epoch_again(epochs: Epochs) -> None:
    seen = {epochs.of(ALICE)}
    for subject in (SESSIONS, Subject(Kind.EVERYBODY), SESSIONS, SESSIONS):
        await epochs.enter([subject], by="root")
        seen.add(epochs.of(ALICE))
    assert len(seen) == 5
    assert max(seen) == epochs.of(ALICE)


async def test_whoever_revokes_somebody_hears_whom_another_of_this_host_revoked_a_moment_ago(epochs: Epochs) -> None:
    directory = epochs._file.path.parent
    sibling = Epochs(file=ledger_file(directory, KEYS), spread=None, clock=SystemClock())
    await sibling.enter([HOLD], by="root")
    await epochs.enter([Subject(Kind.USER, "bob@R")], by="root")
    with pytest.raises(Revoked):
        epochs.require(ALICE)


async def test_a_pass_over_the_seals_keeps_no_revocation_from_being_heard(epochs: Epochs) -> None:
    directory = epochs._file.path.parent
    sibling = Epochs(file=ledger_file(directory, KEYS), spread=None, clock=SystemClock())
    await sibling.enter([HOLD], by="root")
    await epochs.reseal()
    await epochs._look_at_disk()
    with pytest.raises(Revoked):
        epochs.require(ALICE)
