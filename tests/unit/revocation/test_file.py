"""The ledger's file: what was acknowledged is there, and what is there was ours."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.keys.hierarchy import KeyHierarchy, KeyVersion, Use
from broker.keys.hierarchy import Kind as KeyKind
from broker.revocation.file import Damaged, LedgerFile, problems_of
from broker.revocation.ledger import LINGER, Entry, Kind, Subject
from tests.fakes.epochs import ledger_file

KEYS = KeyHierarchy(master=b"m" * 32)
OTHER_KEYS = KeyHierarchy(master=b"o" * 32)


def entry(user: str, *, stamp: int = 1, until: int = 0) -> Entry:
    kind = Kind.SESSION if until else Kind.USER
    return Entry(subject=Subject(kind, user), stamp=stamp, held=True, by="root@R", until=until)


@pytest.fixture
def file(tmp_path: Path) -> LedgerFile:
    return ledger_file(tmp_path / "state", KEYS)


def test_a_file_that_nobody_wrote_is_empty_and_no_problem(file: LedgerFile) -> None:
    assert file.read() == []
    assert problems_of(file, must_be_writable=True) == []
    assert not file.path.parent.exists()


def test_what_was_kept_is_there_for_the_next_one_and_for_nobody_else(file: LedgerFile) -> None:
    file.keep([entry("alice@R")], now=0)
    assert ledger_file(file.path.parent, KEYS).read() == [entry("alice@R")]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert b"alice" not in file.path.read_bytes()


def test_two_of_one_host_lose_nothing_of_each_other(file: LedgerFile) -> None:
    sibling = ledger_file(file.path.parent, KEYS)
    file.keep([entry("alice@R", stamp=5)], now=0)
    assert sibling.is_changed()
    assert sibling.keep([entry("bob@R"), entry("alice@R", stamp=3)], now=0) == [
        entry("alice@R", stamp=5),
        entry("bob@R"),
    ]
    assert not sibling.is_changed()
    assert file.is_changed()
    assert sorted(file.read()) == [entry("alice@R", stamp=5), entry("bob@R")]


def test_what_is_over_is_not_kept(file: LedgerFile) -> None:
    file.keep([entry("alice@R", until=100), entry("bob@R")], now=99 + int(LINGER.total_seconds()))
    assert len(file.read()) == 2
    file.keep([entry("carol@R")], now=100 + int(LINGER.total_seconds()))
    assert sorted(file.read()) == [entry("bob@R"), entry("carol@R")]


def test_nothing_new_writes_nothing(file: LedgerFile) -> None:
    file.keep([entry("alice@R")], now=0)
    before = file.path.stat().st_ino
    file.keep([entry("alice@R")], now=0)
    assert file.path.stat().st_ino == before


def flip(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.write_bytes(blob)


SPOILS: list[Callable[[Path], object]] = [
    flip,
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"[]"),
]


@pytest.mark.parametrize("spoil", SPOILS, ids=["flipped", "cut", "emptied", "replaced"])
def test_a_file_that_was_tampered_with_is_a_reason_not_to_start(
    file: LedgerFile, spoil: Callable[[Path], object]
) -> None:
    file.keep([entry("alice@R")], now=0)
    spoil(file.path)
    with pytest.raises(Damaged):
        file.read()
    (problem,) = problems_of(file, must_be_writable=True)
    assert str(file.path) in problem
    assert "altered or cut" in problem
    assert "fix:" in problem


def test_every_bit_of_the_file_counts(file: LedgerFile) -> None:
    file.keep([entry("alice@R")], now=0)
    whole = file.path.read_bytes()
    for place in range(len(whole) * 8):
        bent = bytearray(whole)
        bent[place // 8] ^= 1 << place % 8
        file.path.write_bytes(bent)
        with pytest.raises(Damaged):
            file.read()


def test_another_key_is_named_as_what_is_wrong(file: LedgerFile) -> None:
    file.keep([entry("alice@R")], now=0)
    (problem,) = problems_of(ledger_file(file.path.parent, OTHER_KEYS), must_be_writable=True)
    assert "another key" in problem


def test_a_link_or_a_folder_in_its_place_is_not_followed(file: LedgerFile, tmp_path: Path) -> None:
    file.keep([entry("alice@R")], now=0)
    file.path.rename(tmp_path / "elsewhere")
    file.path.symlink_to(tmp_path / "elsewhere")
    assert "cannot be read" in problems_of(file, must_be_writable=True)[0]
    file.path.unlink()
    file.path.mkdir()
    assert problems_of(file, must_be_writable=True) != []


def test_a_folder_that_others_may_write_to_or_nobody_can_is_a_problem(file: LedgerFile, tmp_path: Path) -> None:
    file.keep([], now=0)
    file.path.parent.chmod(0o770)
    assert "others may write" in problems_of(file, must_be_writable=True)[0]
    (tmp_path / "no-folder").write_text("")
    assert "cannot be written" in problems_of(ledger_file(tmp_path / "no-folder", KEYS), must_be_writable=True)[0]


def test_a_folder_that_was_not_named_for_it_may_be_mended_while_we_run(tmp_path: Path) -> None:
    (tmp_path / "no-folder").write_text("")
    assert "cannot be read" in problems_of(ledger_file(tmp_path / "no-folder", KEYS), must_be_writable=False)[0]
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    assert problems_of(ledger_file(tmp_path / "open", KEYS), must_be_writable=False) == []


def test_it_is_a_line_of_text_that_no_reader_takes_for_a_record(file: LedgerFile) -> None:
    file.keep([entry("alice@R")], now=0)
    text = file.path.read_text("ascii")
    assert (text.count("\n"), text.endswith("\n"), text.startswith("{")) == (1, True, False)


def test_what_is_spoiled_while_we_run_is_put_aside_and_written_anew(file: LedgerFile) -> None:
    file.keep([entry("alice@R")], now=0)
    flip(file.path)
    spoiled = file.path.read_bytes()
    assert file.is_changed()
    file.keep([entry("alice@R"), entry("bob@R")], now=0)
    assert len(ledger_file(file.path.parent, KEYS).read()) == 2
    assert file.path.with_suffix(".damaged").read_bytes() == spoiled


def test_a_file_that_was_taken_away_is_seen_and_written_again(file: LedgerFile) -> None:
    file.keep([entry("alice@R")], now=0)
    file.path.unlink()
    assert file.is_changed()
    file.keep([entry("alice@R")], now=0)
    assert file.read() == [entry("alice@R")]


def test_what_a_killed_writer_left_behind_is_in_nobodys_way(file: LedgerFile) -> None:
    file.keep([entry("alice@R")], now=0)
    file.path.with_suffix(".new").write_bytes(b"half")
    file.keep([entry("bob@R")], now=0)
    assert len(file.read()) == 2
    assert not file.path.with_suffix(".new").exists()


def test_file_and_name_are_synced_before_anybody_hears_of_it(file: LedgerFile, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_sync, real_rename = os.fsync, Path.rename

    def sync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        done.append("name")
        return real_rename(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    file.keep([entry("alice@R")], now=0)
    assert done == ["file", "name", "folder"]


def test_sealing_anew_is_not_reading_what_another_wrote_meanwhile(tmp_path: Path) -> None:
    hierarchy = KeyHierarchy(master=b"m" * 32)
    one, two = (
        LedgerFile(directory=tmp_path / "state", envelope=hierarchy.envelope(Use.REVOCATION_SEAL)) for _ in range(2)
    )
    one.keep([entry("alice@R")], now=0)
    assert two.reseal()
    assert two.is_changed()
    hierarchy.take({kind: [KeyVersion(b"n" * 32), KeyVersion(b"m" * 32)] for kind in KeyKind})
    assert two.reseal() == {KeyVersion(b"n" * 32).id}
    assert two.is_changed()
    assert one.is_changed()
    assert two.read() == [entry("alice@R")]
