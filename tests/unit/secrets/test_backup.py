"""Backups of the vault: the same secrets on an empty machine, and every altered bit refused and named."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from broker.keys.envelope import Envelope
from broker.keys.master.local import LocalMaster
from broker.secrets.backup import Damaged, Foreign, NotEmpty, _Frames, back_up, restore, verify
from broker.secrets.metadata import Details
from broker.secrets.vault import Vault
from tests.fakes.cache import MovedClock
from tests.fakes.vault import ALICE, NEWER_KEY, START, fields, shown, vault_in

MASTER, OTHER, RECOVERY = (LocalMaster(keys=[key * 32]) for key in (b"m", b"o", b"r"))
CANARY = "canary-of-the-vault"


async def filled(directory: Path) -> Vault:
    clock = MovedClock()
    vault = vault_in(directory, clock=clock)
    details = Details(contact="ops", labels={"team": "red"}, rotate_every=timedelta(days=30))
    await vault.write("db/main", fields(user="app", password=CANARY), details=details, by=ALICE)
    clock.move(timedelta(hours=1))
    await vault.write("db/main", fields(user="app", password="second"), by=ALICE)
    await vault.write("db/main", fields(user="app", password="third"), by=ALICE)
    await vault.destroy("db/main", [2], by=ALICE)
    await vault.delete("db/main", [3], by=ALICE)
    await vault.write("old", fields(value="1"))
    await vault.archive("old", by=ALICE)
    await vault.write("gone", fields(value="1"))
    await vault.purge("gone")
    await vault.read("db/main", version="1", by=ALICE)
    await vault.note_uses()
    return vault


async def backup_of(vault: Vault) -> bytes:
    out = io.BytesIO()
    await back_up(vault, out, masters=[MASTER, RECOVERY], made=START)
    return out.getvalue()


@pytest.mark.parametrize("master", [MASTER, RECOVERY], ids=["master", "recovery"])
async def test_an_empty_machine_with_either_key_gets_the_same_secrets_versions_and_metadata(
    tmp_path: Path, master: LocalMaster
) -> None:
    vault = await filled(tmp_path / "one")
    backup = await backup_of(vault)
    empty = vault_in(tmp_path / "two", keys=(NEWER_KEY,), clock=MovedClock())
    done = await restore(empty, io.BytesIO(backup), masters=[master], merge=False)
    assert (done.secrets, done.versions, done.kept) == (2, 3, [])
    for path in ("db/main", "old"):
        assert await empty.metadata(path) == await vault.metadata(path)
    assert shown(await empty.read("db/main", version="1")) == {"user": "app", "password": CANARY}
    await empty.undelete("db/main", [3])
    assert shown(await empty.read("db/main")) == {"user": "app", "password": "third"}
    assert await empty.list("", archived=True) == ["db/main", "old"]
    assert await empty.write("db/main", fields(value="4"), cas=3) == "4"
    for one in (vault, empty):
        await one.close()


async def test_a_vault_that_has_secrets_is_left_alone_unless_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    vault = await filled(tmp_path / "one")
    backup = await backup_of(vault)
    other = vault_in(tmp_path / "two")
    await other.write("old", fields(value="newer"))
    with pytest.raises(NotEmpty):
        await restore(other, io.BytesIO(backup), masters=[MASTER], merge=False)
    assert await other.list("") == ["old"]
    done = await restore(other, io.BytesIO(backup), masters=[MASTER], merge=True)
    assert (done.secrets, done.kept) == (1, ["old"])
    assert shown(await other.read("old")) == {"value": "newer"}
    assert await other.list("") == ["db/main", "old"]
    for one in (vault, other):
        await one.close()


async def test_what_was_purged_by_mistake_comes_back_from_a_backup(tmp_path: Path) -> None:
    vault = await filled(tmp_path)
    backup = await backup_of(vault)
    await vault.purge("db/main")
    await restore(vault, io.BytesIO(backup), masters=[MASTER], merge=True)
    assert shown(await vault.read("db/main", version="1"))["password"] == CANARY
    await vault.close()


async def test_every_bit_of_a_backup_counts_and_the_record_that_was_altered_is_named(tmp_path: Path) -> None:
    vault = vault_in(tmp_path)
    await vault.write("a", fields(value="1"))
    backup = await backup_of(vault)
    header = len(b"zerotrust vault backup 1\n") + backup.split(b"\n", 2)[1].__len__() + 1
    ends, at = [], header
    while at < len(backup):
        at += 4 + int.from_bytes(backup[at : at + 4])
        ends.append(at)
    for position in range(len(backup)):
        number = next((number for number, end in enumerate(ends) if header <= position < end), 0)
        for bit in range(8):
            altered = bytearray(backup)
            altered[position] ^= 1 << bit
            # Where the header says another key, none opens it; everything else is named.
            with pytest.raises((Damaged, Foreign) if position < header else Damaged) as caught:
                await verify(io.BytesIO(bytes(altered)), masters=[MASTER])
            assert getattr(caught.value, "record", 0) == number
    await vault.close()


async def test_a_backup_that_is_cut_or_continued_anywhere_is_refused(tmp_path: Path) -> None:
    vault = await filled(tmp_path)
    backup = await backup_of(vault)
    for length in range(len(backup)):
        with pytest.raises((Damaged, Foreign)):
            await verify(io.BytesIO(backup[:length]), masters=[MASTER])
    with pytest.raises(Damaged, match="follows the last one"):
        await verify(io.BytesIO(backup + b"\0"), masters=[MASTER])
    assert (await verify(io.BytesIO(backup), masters=[MASTER])).versions == 3
    await vault.close()


def records_of(backup: bytes) -> tuple[bytes, list[bytes]]:
    lines = backup.split(b"\n", 2)
    header, rest = b"\n".join(lines[:2]) + b"\n", lines[2]
    records = []
    while rest:
        end = 4 + int.from_bytes(rest[:4])
        records.append(rest[:end])
        rest = rest[end:]
    return header, records


async def test_records_that_are_exchanged_left_out_doubled_or_of_another_backup_are_named(tmp_path: Path) -> None:
    vault = await filled(tmp_path)
    header, records = records_of(await backup_of(vault))
    _, foreign = records_of(await backup_of(vault))
    for spliced, named in (
        ([*records[:2], records[3], records[2], *records[4:]], 2),
        ([*records[:3], *records[4:]], 3),
        ([*records[:3], records[2], *records[3:]], 3),
        ([*records[:4], foreign[4], *records[5:]], 4),
    ):
        with pytest.raises(Damaged) as caught:
            await verify(io.BytesIO(header + b"".join(spliced)), masters=[MASTER])
        assert caught.value.record == named
    await vault.close()


async def test_without_a_key_of_its_own_it_does_not_open_and_shows_neither_values_nor_paths(tmp_path: Path) -> None:
    vault = await filled(tmp_path)
    backup = await backup_of(vault)
    for plain in (CANARY.encode(), b"db/main", b"alice", b"ops"):
        assert plain not in backup
    with pytest.raises(Foreign):
        await verify(io.BytesIO(backup), masters=[OTHER])
    await vault.close()


class Counting(LocalMaster):
    asked = 0

    async def unwrap(self, blob: bytes, *, context: bytes) -> bytes:
        self.asked += 1
        return await super().unwrap(blob, context=context)


async def test_a_file_of_thousands_of_keys_asks_no_master_for_one_of_them(tmp_path: Path) -> None:
    vault = await filled(tmp_path)
    magic, header, rest = (await backup_of(vault)).split(b"\n", 2)
    stated = orjson.loads(header)
    stated["keys"] = [{"master": "m", "wrapped": "eA=="}] * 1000
    master = Counting(keys=[b"m" * 32])
    with pytest.raises(Damaged) as caught:
        await verify(io.BytesIO(b"\n".join([magic, orjson.dumps(stated), rest])), masters=[master])
    assert (caught.value.record, master.asked) == (0, 0)
    await vault.close()


async def test_a_restore_that_was_broken_off_is_finished_with_merge(tmp_path: Path) -> None:
    vault = await filled(tmp_path / "one")
    for number in range(20):
        await vault.write(f"s/{number}", fields(value=str(number)), details=replace(Details(), contact=str(number)))
    backup = await backup_of(vault)
    other = vault_in(tmp_path / "two")
    with pytest.raises(Damaged):
        await restore(other, io.BytesIO(backup[: len(backup) // 2]), masters=[MASTER], merge=False)
    assert 0 < len(await other.list("")) < 20
    await restore(other, io.BytesIO(backup), masters=[MASTER], merge=True)
    assert await other.list("", archived=True) == await vault.list("", archived=True)
    for one in (vault, other):
        await one.close()


async def test_a_backup_whose_last_record_counts_otherwise_is_refused_though_every_record_opens() -> None:
    key, stated = b"f" * 32, START.isoformat()
    wrapped = await MASTER.wrap(key, context=b"vault-backup/v1\0" + stated.encode())
    keys = [{"master": MASTER.id, "wrapped": base64.b64encode(wrapped).decode()}]
    header = b"zerotrust vault backup 1\n" + orjson.dumps({"made": stated, "keys": keys}) + b"\n"
    out = io.BytesIO()
    frames = _Frames(out, Envelope(keys=[key]), header)
    frames.put(b"H", b"")
    frames.put(b"E", b"[1,1]")
    with pytest.raises(Damaged, match="record 1 counts other secrets"):
        await verify(io.BytesIO(header + out.getvalue()), masters=[MASTER])
