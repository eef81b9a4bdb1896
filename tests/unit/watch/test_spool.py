"""What is on its way is on the disk, sealed, and is taken over when its process is dead."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from broker.keys.envelope import Envelope
from broker.watch.spool import Letter, SpoolFile
from tests.fakes.notices import notice

KEY = b"k" * 32


def spool(folder: Path, key: bytes = KEY) -> SpoolFile:
    return SpoolFile(directory=folder / "state", envelope=Envelope(keys=[key]))


def letter(seq: int = 7, channel: str = "email") -> Letter:
    return Letter(channel=channel, notice=notice(seq), attempts=2, done=frozenset({"a@example.com"}))


def test_what_was_written_is_read_by_the_next_process_and_by_nobody_else(tmp_path: Path) -> None:
    one = spool(tmp_path)
    assert one.open() == []
    one.write([letter(1), letter(2, "slack")])
    path = tmp_path / "state" / "notifications-1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert b"alice" not in path.read_bytes()
    assert path.read_bytes().isascii()
    one.close()
    assert spool(tmp_path).open() == [letter(1), letter(2, "slack")]


def test_processes_that_share_a_folder_have_a_file_each_and_take_over_what_a_dead_one_left(tmp_path: Path) -> None:
    one, two = spool(tmp_path), spool(tmp_path)
    one.open()
    two.open()
    one.write([letter(1)])
    two.write([letter(2)])
    assert two.take_over([letter(2)]) == [letter(2)], "the first one lives"
    one.close()
    found = two.take_over([letter(2)])
    assert sorted(each.notice.seq or 0 for each in found) == [1, 2]
    assert not (tmp_path / "state" / "notifications-1").exists()
    two.close()
    assert len(spool(tmp_path).open()) == 0, "the first file is free, and empty"
    three = spool(tmp_path)
    assert three.take_over(three.open()) == found


def test_a_crash_between_taking_over_and_removing_delivers_twice_rather_than_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = spool(tmp_path), spool(tmp_path)
    one.open()
    two.open()
    one.write([letter(1)])
    one.close()

    def killed(self: Path, *, missing_ok: bool) -> None:
        if self.suffix != ".new":
            raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(OSError, match="killed"):
            two.take_over([])
    # Both files hold it; taken over again it is one letter.
    assert two.take_over([letter(1)]) == [letter(1)]


@pytest.mark.parametrize("what", ["flipped", "cut", "empty", "other key", "link", "folder"])
def test_a_file_that_cannot_be_believed_is_put_aside_and_named(tmp_path: Path, what: str) -> None:
    one = spool(tmp_path, b"o" * 32 if what == "other key" else KEY)
    one.open()
    one.write([letter()])
    one.close()
    path = tmp_path / "state" / "notifications-1"
    content = path.read_bytes()
    if what == "flipped":
        path.write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
    elif what == "cut":
        path.write_bytes(content[:-5])
    elif what == "empty":
        path.write_bytes(b"")
    elif what in ("link", "folder"):
        path.rename(tmp_path / "elsewhere")
        if what == "link":
            path.symlink_to(tmp_path / "elsewhere")
        else:
            path.mkdir()
    two = spool(tmp_path)
    assert two.open() == []
    [damaged] = two.damaged
    assert damaged.startswith(str(path))
    assert ("sealed with another key" in damaged) == (what == "other key")
    assert os.path.lexists(path.with_suffix(".damaged"))
    two.write([letter()])
    assert two.take_over([]) == []


def test_a_letter_of_another_version_is_put_aside(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.open()
    for members in (
        [{"channel": "email"}],
        [{"channel": "email", "notice": {"id": "x"}, "attempts": 1, "done": []}],
        7,
    ):
        envelope = Envelope(keys=[KEY])
        sealed = envelope.seal(json.dumps(members).encode(), context=b"notifications/v1")
        from broker.keys.envelope import armoured  # noqa: PLC0415

        (tmp_path / "state" / "notifications-2").write_bytes(armoured(sealed))
        assert one.take_over([letter()]) == [letter()]
        assert "of another version" in one.damaged.pop()


def test_without_a_disk_nothing_is_written_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    one = spool(tmp_path)
    with pytest.raises(OSError, match="File exists"):
        one.open()
    with pytest.raises(OSError, match="no file"):
        one.write([letter()])
