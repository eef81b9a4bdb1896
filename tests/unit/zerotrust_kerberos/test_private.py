"""Where an endpoint's token lies, and what must not make it lie elsewhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from zerotrust_kerberos.agent import private


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    return folder


def _base(runtime: str, tmp_path: Path) -> str:
    return private.base({"XDG_RUNTIME_DIR": runtime, "TMPDIR": str(tmp_path)})


def test_a_runtime_folder_of_ones_own_is_taken(runtime: Path, tmp_path: Path) -> None:
    assert _base(str(runtime), tmp_path) == str(runtime)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_runtime_folder_that_others_may_enter_is_not(runtime: Path, tmp_path: Path, mode: int) -> None:
    runtime.chmod(mode)
    assert _base(str(runtime), tmp_path) != str(runtime)


def test_a_runtime_folder_of_somebody_else_is_not(runtime: Path, tmp_path: Path) -> None:
    os.chown(runtime, 54_322, 0)
    assert _base(str(runtime), tmp_path) != str(runtime)


def test_a_link_to_a_runtime_folder_is_not(runtime: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(runtime)
    assert _base(str(link), tmp_path) != str(link)


@pytest.mark.parametrize("path", ["", "relative", "/nowhere"])
def test_what_is_no_folder_is_not(path: str, tmp_path: Path) -> None:
    assert _base(path, tmp_path) != path


def test_each_token_has_a_new_folder_of_its_own_and_follows_no_link(runtime: Path, tmp_path: Path) -> None:
    folder, other = private.Folder(str(runtime)), private.Folder(str(runtime))
    assert folder.path != other.path
    assert stat.S_IMODE(Path(folder.path).stat().st_mode) == 0o700
    target = tmp_path / "target"
    target.write_text("kept")
    (Path(folder.path) / private.TOKEN).symlink_to(target)
    with pytest.raises(FileExistsError):
        folder.put(private.TOKEN, "secret")
    assert target.read_text() == "kept"


def test_sweeping_takes_nothing_that_is_in_use_or_no_folder_of_ours(runtime: Path, tmp_path: Path) -> None:
    used = private.Folder(str(runtime))
    token = Path(used.put(private.TOKEN, "secret"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / private.TOKEN).write_text("kept")
    (runtime / "zerotrust-0123456789abcdef").symlink_to(elsewhere)
    (runtime / "zerotrust-file").write_text("kept")
    (runtime / "zerotrust-work").mkdir()
    (runtime / "zerotrust-work" / private.TOKEN).write_text("kept")
    private.sweep(str(runtime))
    assert token.read_text() == "secret"
    assert (elsewhere / private.TOKEN).read_text() == "kept"
    assert (runtime / "zerotrust-file").exists()
    assert (runtime / "zerotrust-work" / private.TOKEN).exists()
