"""Where secrets go on the user's side: into folders that nobody else rules, and past the log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.running.delivery import deliver, masked


def test_a_folder_of_another_account_gets_nothing_for_its_owner_could_exchange_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o777)
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Failure, match="configuration") as caught:
        deliver(str(folder), {"one": b"x"}, on_disk=True)
    assert "another account" in caught.value.detail
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["", "..", "../one", "a/b", "/one", ".one", "one\0", "a" * 129, "\u00e4"])
def test_a_name_that_leads_out_of_the_folder_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(Failure, match="usage"):
        deliver(str(tmp_path / "ours"), {name: b"x"}, on_disk=True)
    assert not (tmp_path / "ours").exists()


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"old")
    folder = tmp_path / "ours"
    folder.mkdir()
    for name in ("one", ".one.new"):
        (folder / name).symlink_to(victim)
    deliver(str(folder), {"one": b"x"}, on_disk=True)
    assert (victim.read_bytes(), (folder / "one").read_bytes(), (folder / "one").is_symlink()) == (b"old", b"x", False)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(Failure):
        deliver(str(tmp_path / "link"), {"one": b"y"}, on_disk=True)
    assert (folder / "one").read_bytes() == b"x"


def test_a_password_of_signs_alone_is_hidden_and_a_bracket_is_not() -> None:
    printed = masked("gitlab", "!$%&/()=\n{\n  }\n}]},\nx", {"GITLAB_CI": "true"})
    assert printed == "::add-mask::!$%&/()=\n::add-mask::x\n"
