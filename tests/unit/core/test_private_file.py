from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from broker.core import private_file
from broker.core.private_file import PermissionProblem, open_private, private_files, read_private

US = 1000
ROOT = 0
SOMEBODY = 1001


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("canary")
    path.chmod(0o600)
    return path


def _status(mode: int, owner: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))


def _judge(mode: int, owner: int, *, folder: bool = False) -> None:
    kind = stat.S_IFDIR if folder else stat.S_IFREG
    private_file._judge(Path("/f"), _status(kind | mode, owner), folder=folder, uid=US)


def test_a_private_file_is_read(secret):
    with open_private(secret) as file:
        assert file.read() == b"canary"
    assert read_private(secret, limit=6) == b"canary"


@pytest.mark.parametrize(("mode", "owner"), [(0o600, US), (0o400, US), (0o600, ROOT), (0o640, ROOT), (0o440, ROOT)])
def test_the_owner_alone_and_the_group_of_a_root_owned_file_may_read(mode, owner):
    _judge(mode, owner)


@pytest.mark.parametrize(
    ("mode", "owner"),
    [(0o640, US), (0o610, US), (0o604, US), (0o602, US), (0o601, ROOT), (0o620, ROOT), (0o660, ROOT), (0o644, ROOT)],
)
def test_a_file_that_others_can_reach_is_refused_with_its_mode_and_the_fix(mode, owner):
    fix = "g-w,o=" if owner == ROOT else "600"
    with pytest.raises(PermissionProblem, match=f"has mode {mode:04o}, open to others — fix: chmod {fix} /f"):
        _judge(mode, owner)


def test_a_file_of_a_third_account_is_refused():
    with pytest.raises(PermissionProblem, match=r"belongs to user id 1001.* — fix: chown 1000 /f"):
        _judge(0o600, SOMEBODY)


def test_a_folder_that_others_can_enter_is_refused():
    _judge(0o750, ROOT, folder=True)
    with pytest.raises(PermissionProblem, match="chmod 700 /f"):
        _judge(0o750, US, folder=True)
    with pytest.raises(PermissionProblem, match="chmod g-w,o= /f"):
        _judge(0o755, ROOT, folder=True)


def test_a_symbolic_link_is_refused_even_to_a_private_file(secret, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(secret)
    with pytest.raises(PermissionProblem, match="is a symbolic link — fix: name the file itself"):
        open_private(link)


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(PermissionProblem, match="is not a regular file"):
        open_private(tmp_path / "fifo")


def test_a_socket_a_folder_and_a_missing_file_are_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(PermissionProblem, match="cannot be opened"):
            open_private(tmp_path / "socket")
    with pytest.raises(PermissionProblem, match="is not a regular file"):
        open_private(tmp_path)
    with pytest.raises(PermissionProblem, match="does not exist"):
        open_private(tmp_path / "missing")


@pytest.mark.parametrize("name", ["/a\0b", "/a\ud800"])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(PermissionProblem, match="is not a possible name"):
        open_private(Path(name))


def test_a_file_beyond_its_limit_is_refused(secret):
    with pytest.raises(PermissionProblem, match="longer than 5 bytes"):
        read_private(secret, limit=5)


def test_no_descriptor_is_left_open_by_a_refusal(secret):
    secret.chmod(0o644)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(PermissionProblem):
        open_private(secret)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_folder_stands_for_its_files_but_hidden_ones_and_readmes(tmp_path):
    folder = tmp_path / "keytabs"
    folder.mkdir(mode=0o700)
    for name in ("b.keytab", "a", ".gitignore", "README.md"):
        (folder / name).touch()
    assert private_files(folder) == [folder / "a", folder / "b.keytab"]
    assert private_files(folder / "a") == [folder / "a"]


def test_a_folder_that_is_open_to_others_or_a_link_is_refused(tmp_path):
    folder = tmp_path / "keytabs"
    folder.mkdir()
    folder.chmod(0o755)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(PermissionProblem, match="has mode 0755"):
        private_files(folder)
    with pytest.raises(PermissionProblem, match="is a symbolic link"):
        private_files(tmp_path / "link")
