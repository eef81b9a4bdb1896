"""The packages for Debian and RPM, made by nfpm of what is staged here and of ``broker.yaml`` and ``client.yaml`` beside this."""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from release import bill, python
from release.times import set_all

KINDS = ("deb", "rpm")
# The names that Go, and so nfpm, has for machines.
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
# What an administrator copies from.
_EXAMPLES = ("docs/policy-example.yaml", "systemd/drop-ins", "monitoring")
_SHELLS = {"bash": "zerotrust.bash", "fish": "zerotrust.fish", "zsh": "_zerotrust"}

# Isolated: whatever a user's environment says of Python, a ticket and keys are at stake. Without `site`, which the program does
# not need, it starts sooner.
_CLIENT = """#!/usr/bin/python3 -IS
import sys

sys.path.append("/usr/lib/zerotrust")
from zerotrust_kerberos.cli import main

main()
"""
_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: ZeroTrustKerberosLink

Files: *
Copyright: 2026 the authors of ZeroTrustKerberosLink
License: Apache-2.0
 On Debian systems the whole text is in /usr/share/common-licenses/Apache-2.0.
"""
_PARTS = """
Files: opt/zerotrust/lib/python3.11/site-packages/*
Copyright: the authors of each package, as its own licence there says
License: various
 The texts lie beside the packages in /opt/zerotrust, in the folders that end with .dist-info.
 .
{lines}
"""


def make(root: Path, stage: Path, into: Path, *, wheel: Path, version: str, time: int) -> None:
    """Write two packages of each kind.

    Args:
        root: The repository.
        stage: Has the broker's environment in ``environment``; the rest is staged beside it.
        into: The folder for them, with the bill of materials.
        wheel: What the user's side is taken from.
        version: Theirs.
        time: Of every file in them.
    """
    rest = stage / "rest"
    shutil.rmtree(rest, ignore_errors=True)
    _documents(root, rest, into / "zerotrust-broker.cdx.json", version=version, time=time)
    _client(rest, wheel, into / "zerotrust.pyz")
    for name in _EXAMPLES:
        if (root / name).is_dir():
            shutil.copytree(root / name, rest / "examples" / Path(name).name)
        elif (root / name).exists():
            _write(rest / "examples" / Path(name).name, (root / name).read_bytes())
    for folder in ("systemd", "release"):
        shutil.copytree(root / folder, rest / folder, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    _open_to_all(rest)
    set_all(rest, time)
    for recipe in ("broker.yaml", "client.yaml"):
        for kind in KINDS:
            pack(rest / "release" / recipe, kind, stage=stage, into=into, version=version, time=time)


def pack(recipe: Path, kind: str, *, stage: Path, into: Path, version: str, time: int) -> None:
    """Put what is staged into one package."""
    machine = _MACHINES[platform.machine()]
    subprocess.run(
        [Path(sys.executable).parent / "nfpm", "package", "--packager", kind, "--target", into, "--config", recipe],
        cwd=stage,
        env={**os.environ, "ARCH": machine, "VERSION": version, "SOURCE_DATE_EPOCH": str(time)},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _documents(root: Path, rest: Path, materials: Path, *, version: str, time: int) -> None:
    for page in (root / "man").glob("man[18]/*.[18]"):
        _write(rest / "man" / page.parent.name / f"{page.name}.gz", _packed(page.read_bytes()))
    _write(rest / "changelog.gz", _packed((root / "CHANGELOG.md").read_bytes()))
    when = format_datetime(datetime.fromtimestamp(time, UTC))
    for package in ("zerotrust-broker", "zerotrust"):
        entry = (
            f"{package} ({version}-1) stable; urgency=medium\n\n  * See changelog.gz.\n\n -- {_MAINTAINER}  {when}\n"
        )
        _write(rest / package / "changelog.Debian.gz", _packed(entry.encode()))
    lines = "\n".join(f"  {name} {number}: {licence}" for name, number, licence in bill.licences(materials))
    _write(rest / "zerotrust-broker/copyright", (_COPYRIGHT + _PARTS.format(lines=lines)).encode())
    _write(rest / "zerotrust/copyright", _COPYRIGHT.encode())


_MAINTAINER = "ZeroTrustKerberosLink maintainers <maintainers@zerotrust-kerberos-link.invalid>"


def _client(rest: Path, wheel: Path, program: Path) -> None:
    for name, content in python.client_modules(wheel).items():
        _write(rest / "client" / name, content)
    _write(rest / "client.program", _CLIENT.encode())
    for shell, name in _SHELLS.items():
        script = subprocess.run([sys.executable, program, "completion", shell], capture_output=True, check=True)
        _write(rest / "completion" / name, script.stdout)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _open_to_all(tree: Path) -> None:
    """Whoever builds with a narrow umask gives out the same as everybody."""
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
