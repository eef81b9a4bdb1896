"""The wheel and the source archive, and ``zerotrust.pyz``: the user's side in one file that any Python from 3.11 runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time as times
import zipfile
from pathlib import Path
from typing import IO

from release.compiled import compile_all

# What the user's side takes of the broker's, as the import contracts say it.
_SHARED = ("__init__.py", "wire", "locked.py", "quoting.py")
_SCRIPT = "zerotrust_kerberos/__main__.py"


def distributions(root: Path, into: Path, *, time: int) -> Path:
    """Build the wheel and the source archive; the wheel's path. hatchling takes all times from ``SOURCE_DATE_EPOCH``."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--target", "wheel", "--directory", into],
        cwd=root,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(time)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    (wheel,) = into.glob("*.whl")
    return wheel


def client_modules(wheel: Path) -> dict[str, bytes]:
    """The files of the user's side, by their names below a folder of modules."""
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in sorted(packed.namelist()) if _is_clients(name)}


def _is_clients(name: str) -> bool:
    room, _, rest = name.partition("/")
    return room == "zerotrust_kerberos" or (room == "broker" and rest.startswith(_SHARED))


def one_file(wheel: Path, target: Path, *, time: int) -> None:
    """Write the zip application (PEP 441).

    Compiled modules lie beside the sources. They serve Python 3.11; any other one finds that they are not its own, and
    compiles the sources as it would have.
    """
    modules = client_modules(wheel)
    modules["__main__.py"] = modules[_SCRIPT].split(b"\n", 1)[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for module, source in modules.items():
            file = folder / module
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(source)
        compile_all(folder, folder, shown="", beside=True)
        with target.open("wb") as out:
            out.write(b"#!/usr/bin/env python3\n")
            _zip(folder, out, time=time)
    target.chmod(0o755)


def _zip(folder: Path, out: IO[bytes], *, time: int) -> None:
    stamp = times.gmtime(time)[:6]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                entry = zipfile.ZipInfo(str(file.relative_to(folder)), stamp)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, file.read_bytes())
