"""The broker's environment, /opt/zerotrust: what was locked, as it was installed and tested here, and no way to install more.

Each file is copied from the environment that the tests ran in, and only if it still is what its wheel said (RECORD, PEP 376).
So what is given out is what was tested, nothing is fetched, and what has no wheel is compiled once. ``pip`` is not in it, and
a target needs no compiler.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import shutil
import subprocess
import zipfile
from importlib import metadata
from pathlib import Path

from release.compiled import PYTHON, compile_all
from release.times import set_all

HOME = Path("/opt/zerotrust")
LOCK = Path("requirements/broker.txt")
PROGRAMS = {"zerotrust-broker": "main", "zerotrust-admin": "admin"}

_PROGRAM = """#!{home}/bin/python3
from broker.cli import {function}

{function}()
"""
_PYVENV = "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n"
# Of the installer, not of the wheel.
_NOT_OF_THE_WHEEL = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}


class Unfit(RuntimeError):
    """What is installed here is not what was locked; the message says what, and the fix."""


def make(root: Path, stage: Path, *, wheel: Path, time: int) -> Path:
    """Write the environment below ``stage``, as it will lie below ``/``; the environment's own folder is returned.

    The locked part is written anew when the lock, or this file, is another: it takes half a minute.

    Raises:
        Unfit: A package is missing, is of another version, or was changed.
    """
    tree = stage / HOME.relative_to("/")
    site = tree / "lib" / PYTHON / "site-packages"
    made_from = hashlib.sha256((root / LOCK).read_bytes() + Path(__file__).read_bytes()).hexdigest()
    stamp = stage.with_suffix(".stamp")
    if not stamp.exists() or stamp.read_text() != made_from:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(stage, ignore_errors=True)
        site.mkdir(parents=True)
        for name, version in locked(root / LOCK).items():
            _copy(_installed(name, version), site)
        compile_all(stage, site, shown="/")
        stamp.write_text(made_from)
    _own(stage, site, wheel)
    _programs(tree)
    set_all(stage, time)
    return tree


def locked(lock: Path) -> dict[str, str]:
    """Versions by name."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", lock.read_text(), re.MULTILINE))


def _installed(name: str, version: str) -> metadata.Distribution:
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise Unfit(f"{name} is locked and not installed — run: make setup") from error
    if distribution.version != version:
        raise Unfit(f"{name} {distribution.version} is installed, {version} is locked — run: make setup")
    return distribution


def _copy(distribution: metadata.Distribution, site: Path) -> None:
    # A wheel from elsewhere names the C library that it needs (manylinux); one that was compiled here does not.
    compiled_here = re.search(r"^Tag: \S+-linux_\w+$", distribution.read_text("WHEEL") or "", re.MULTILINE)
    rows: list[tuple[str, str, object]] = []
    for file in distribution.files or ():
        if file.parts[0] == ".." or "__pycache__" in file.parts or file.name in _NOT_OF_THE_WHEEL:
            continue
        target = site / file
        _copy_whole(file, target)
        if compiled_here and file.suffix == ".so":
            _strip(target)
        content = target.read_bytes()
        rows.append((str(file), f"sha256={_hash(content)}", len(content)))
    record = f"{_folder_of(distribution)}/RECORD"
    with (site / record).open("w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([*sorted(rows), (record, "", "")])


def _copy_whole(file: metadata.PackagePath, target: Path) -> None:
    source = Path(str(file.locate()))
    content = source.read_bytes()
    if file.hash is not None and _hash(content) != file.hash.value:
        raise Unfit(f"{source} is not what its wheel said — run: rm -r .venv && make setup")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def _folder_of(distribution: metadata.Distribution) -> str:
    """Its metadata's folder, which every wheel has and lists."""
    return next(str(file.parent) for file in distribution.files or () if file.name == "METADATA")


def _hash(content: bytes) -> str:
    """As RECORD writes it (PEP 376)."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _strip(library: Path) -> None:
    """Without what says in which folder it was compiled, and the number made of that."""
    subprocess.run(["strip", "--strip-unneeded", "--remove-section=.note.gnu.build-id", library], check=True)


def _own(stage: Path, site: Path, wheel: Path) -> None:
    """This project's part: the wheel's packages and metadata, without what it puts elsewhere."""
    rooms = {"broker", "zerotrust_kerberos"}
    for old in [*(site / room for room in rooms), *site.glob("zerotrust_kerberos_link-*.dist-info")]:
        shutil.rmtree(old, ignore_errors=True)
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site, [name for name in packed.namelist() if ".data/" not in name])
    compile_all(stage, *(site / room for room in sorted(rooms)), shown="/")


def _programs(tree: Path) -> None:
    (tree / "pyvenv.cfg").write_text(_PYVENV)
    (tree / "bin").mkdir(exist_ok=True)
    python = tree / "bin/python3"
    python.unlink(missing_ok=True)
    python.symlink_to(f"/usr/bin/{PYTHON}")
    for name, function in PROGRAMS.items():
        program = tree / "bin" / name
        program.write_text(_PROGRAM.format(home=HOME, function=function))
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent == tree / "bin" else 0o644)
