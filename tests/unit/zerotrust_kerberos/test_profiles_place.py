"""The file on disk: all of the new text or all of the old one, whatever happens in between."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.profiles import place


def test_what_another_program_wrote_meanwhile_is_not_lost(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\n")
    old = place.read(config)
    config.write_text("[default]\nregion = x\n")
    with pytest.raises(Failure) as caught:
        place.replace(config, old=old, new="[new]\n")
    assert caught.value.detail == f"{config} was changed by another program meanwhile"
    assert config.read_text() == "[default]\nregion = x\n"


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\n")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure) as caught:
        place.replace(config, old="[default]\n", new="[new]\n")
    assert "No space left on device" in caught.value.detail
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"config": "[default]\n"}


def test_every_byte_is_read_and_written(tmp_path: Path) -> None:
    config, content = tmp_path / "config", bytes(range(256))
    config.write_bytes(content)
    text = place.read(config)
    place.replace(config, old=text, new=f"{text}!")
    assert config.read_bytes() == content + b"!"
    assert (tmp_path / "config.before-zerotrust").read_bytes() == content


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_left_alone(tmp_path: Path, make: object) -> None:
    config = tmp_path / "config"
    make(config)  # type: ignore[operator]  # one of the two above
    with pytest.raises(Failure):
        place.replace(config, old="", new="[new]\n")
    assert not config.is_file()


def test_in_a_folder_of_somebody_else_nothing_is_written(tmp_path: Path) -> None:
    """By sudo with their home, say: while root writes there, they say where the names lead."""
    config = tmp_path / "theirs" / "config"
    config.parent.mkdir()
    os.chown(config.parent, 65534, -1)
    with pytest.raises(Failure) as caught:
        place.replace(config, old="", new="[new]\n")
    assert caught.value.detail == f"{config.parent} belongs to uid 65534"
    assert caught.value.fix == "sudo -u '#65534' zerotrust configure --write"
    assert list(config.parent.iterdir()) == []


def test_a_path_in_a_command_that_mends_is_one_word(tmp_path: Path) -> None:
    folder = tmp_path / "my 'own' $(folder)"
    folder.mkdir()
    with pytest.raises(Failure) as caught:
        place.read(folder)
    assert caught.value.fix is not None
    assert shlex.split(caught.value.fix) == ["ls", "-l", str(folder)]


def test_without_a_home_the_file_is_asked_for() -> None:
    with pytest.raises(Failure) as caught:
        place.config_path({})
    assert "HOME" in caught.value.detail
    assert place.config_path({"AWS_CONFIG_FILE": "/x/y"}) == Path("/x/y")
