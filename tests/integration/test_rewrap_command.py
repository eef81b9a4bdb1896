"""`zerotrust-admin secrets rewrap` without documents: the integrated vault is sealed anew, now and not by and by."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.admin.assembled import VaultSealed
from broker.assembly.backup import VaultFiles
from broker.config.load import load
from broker.core.clock import SystemClock
from broker.keys.envelope import Envelope
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.remote.failure import Malformed
from broker.secrets.rows import PAGE
from broker.secrets.store import Swap
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault
from tests.fakes.vault import fields, shown
from tests.integration.test_vault_backup_command import KEY, Machine

NEXT_KEY = b"n" * 32


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Its operator has exchanged the key in the file; what lies there is sealed with the one before."""
    machine = Machine(tmp_path / "one")
    asyncio.run(_filled(machine.vault(), PAGE + 5))
    settings = json.loads(machine.config.read_text())
    settings["encryption"] = {
        "key_file": str(machine.secret("next", NEXT_KEY)),
        "previous_key_files": [str(machine.folder / "key")],
    }
    machine.config.write_text(json.dumps(settings))
    return machine


@pytest.fixture
def interrupts() -> Iterator[None]:
    """As in a shell: whoever runs the tests may ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


async def _filled(vault: Vault, number: int) -> None:
    for count in range(number):
        await vault.write(f"db/{count}", fields(value=f"v{count}"))
    await vault.close()


async def _read(machine: Machine, path: str, *, key: bytes) -> dict[str, str]:
    envelope: Envelope = KeyHierarchy(master=key).envelope(Use.VAULT_SEAL)
    store = SqliteStore(directory=machine.folder / "state")
    vault = Vault(store=store, envelope=envelope, clock=SystemClock())
    try:
        return dict(shown(await vault.read(path)))
    finally:
        await vault.close()


def test_every_secret_is_sealed_with_the_newest_key_and_that_is_on_record(machine: Machine) -> None:
    assert f"{PAGE + 5} secrets, {PAGE + 5} sealed anew" in machine.admin("rewrap")
    assert asyncio.run(_read(machine, "db/3", key=NEXT_KEY)) == {"value": "v3"}
    with pytest.raises(Malformed):
        asyncio.run(_read(machine, "db/3", key=KEY))
    assert f"{PAGE + 5} secrets, 0 sealed anew" in machine.admin("rewrap")
    first, second = machine.events()
    assert first["event"] == "secrets_rewrapped"
    assert (first["seen"], first["renewed"], first["broken"], first["is_whole"]) == (PAGE + 5, PAGE + 5, 0, True)
    assert second["renewed"] == 0


@pytest.mark.usefixtures("interrupts")
def test_broken_off_it_says_how_far_it_came_and_the_next_one_goes_on(machine: Machine) -> None:
    told: list[VaultSealed] = []

    def tell(done: VaultSealed) -> None:
        told.append(done)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        VaultFiles(clock=SystemClock()).rewrap(load(machine.config, environ={}, signs=False), tell=tell)
    assert told == [VaultSealed(seen=PAGE, renewed=PAGE)]
    (record,) = machine.events()
    assert (record["renewed"], record["is_whole"]) == (PAGE, False)
    assert f"{PAGE + 5} secrets, 5 sealed anew" in machine.admin("rewrap")


def test_what_does_not_open_stays_is_counted_and_makes_it_fail(machine: Machine) -> None:
    asyncio.run(_spoil_one(machine))
    said = machine.admin("rewrap", code=1)
    assert f"{PAGE + 5} secrets, {PAGE + 4} sealed anew" in said
    assert "1 do not open and stay as they are — fix: " in said
    assert machine.events()[-1]["broken"] == 1


async def _spoil_one(machine: Machine) -> None:
    store = SqliteStore(directory=machine.folder / "state")
    await store.begin(b"")
    ((name, head),) = await store.heads(b"", limit=1)
    assert await store.swap([Swap(name=name, before=head, after=head[:-1] + bytes([head[-1] ^ 1]))]) == [True]
    await store.close()


def test_options_for_documents_without_a_document_and_a_vault_of_others_are_refused(machine: Machine) -> None:
    assert "name the documents" in machine.admin("rewrap", "--transit-key", "k", code=2)
    assert "documents need --transit-key" in machine.admin("rewrap", "--file", "x", code=2)
    settings = json.loads(machine.config.read_text())
    settings["secrets"] = {"provider": "kubernetes", "config": {"url": "https://127.0.0.1:1", "namespace": "apps"}}
    machine.config.write_text(json.dumps(settings))
    assert "secrets.provider is kubernetes" in machine.admin("rewrap", code=1)
