"""Files that call themselves backups of a vault: good is only what was written, and nothing else is ever half believed."""

from __future__ import annotations

import asyncio
import io
import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from broker.core.secret import Secret
from broker.keys.envelope import Envelope
from broker.keys.master.local import LocalMaster
from broker.secrets.backup import Damaged, Foreign, back_up, verify
from broker.secrets.store_sqlite import SqliteStore
from broker.secrets.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MASTER = LocalMaster(keys=[b"m" * 32])
LOOP = asyncio.new_event_loop()


class StoppedClock:
    def now(self) -> datetime:
        return NOON

    def boottime(self) -> float:
        return 0.0


async def written() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(directory=Path(folder))
        vault = Vault(store=store, envelope=Envelope(keys=[b"k" * 32]), clock=StoppedClock())
        for path in ("team/db", "team/db", "other"):
            await vault.write(path, {"value": Secret("canary")})
        await vault.read("other")
        await vault.note_uses()
        out = io.BytesIO()
        await back_up(vault, out, masters=[MASTER], made=NOON)
        await vault.close()
        return out.getvalue()


# The same in each process, so that what one run kept is no forgery to the next.
with patch("os.urandom", random.Random(1).randbytes):  # noqa: S311  # that is what it is for
    GOOD = LOOP.run_until_complete(written())


def seeds() -> Iterator[bytes]:
    yield GOOD
    magic, header, _ = GOOD.split(b"\n", 2)
    yield magic + b"\n" + header + b"\n"
    yield magic + b'\n{"made": "2026-03-01T12:00:00+00:00", "keys": []}\n'
    yield magic + b'\n{"made": 1, "keys": [{"master": "m", "wrapped": "eA=="}]}\n\x00\x00\x00\x01x'


def one_input(data: bytes) -> None:
    try:
        found = LOOP.run_until_complete(verify(io.BytesIO(data), masters=[MASTER]))
    except Damaged as error:
        assert data != GOOD
        assert str(error).isprintable()
        assert "canary" not in str(error)
    except Foreign:
        assert data != GOOD
    else:
        assert data == GOOD
        assert (found.secrets, found.versions) == (2, 3)
