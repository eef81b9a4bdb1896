"""The manual pages: made of what the programs say of themselves, without a fault, and part of what is installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from man.pages import pages
from zerotrust_kerberos.commands import COMMANDS
from zerotrust_kerberos.failures import TABLE

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "man").glob("man[18]/*"))


def test_the_pages_say_what_the_programs_say() -> None:
    assert {file.name: file.read_text(encoding="utf-8") for file in FILES} == pages(), "run: make man"


def test_there_is_a_page_for_each_command_and_program() -> None:
    wanted = {"zerotrust.1", "zerotrust-admin.8", "zerotrust-broker.8", *(f"zerotrust-{name}.1" for name in COMMANDS)}
    assert {file.name for file in FILES} == wanted
    assert all(file.parent.name == f"man{file.suffix[1:]}" for file in FILES)


def test_no_page_has_a_fault() -> None:
    done = subprocess.run(["mandoc", "-T", "lint", *FILES], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == ""


def test_a_page_reads_as_it_was_written() -> None:
    made = subprocess.run(
        ["mandoc", "-T", "ascii", "-O", "width=300", ROOT / "man" / "man1" / "zerotrust.1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    text = " ".join("".join(made.split("_\b")).split())
    plain = "".join(char for at, char in enumerate(text) if text[at + 1 : at + 2] != "\b" and char != "\b")
    assert "--broker URL https://HOST[:PORT]" in plain
    assert "the broker's service name" in plain
    assert "~/.config" in plain
    assert [code for code in TABLE if f"[{code}]" not in plain] == []


def test_the_wheel_brings_the_pages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    installed = {name.rpartition("/data/share/man/")[2] for name in names if "/data/share/man/" in name}
    assert installed == {f"{file.parent.name}/{file.name}" for file in FILES}
