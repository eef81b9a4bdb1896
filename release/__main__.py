"""``python -m release``: writes ``dist/``."""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path

from broker import __version__
from release import bill, environment, packages, python
from release.times import epoch

ROOT = Path(__file__).parents[1]
# Beside the environment that it is copied from, and kept as long: the locked packages change seldom.
STAGE = ROOT / ".venv/dist"
CHECKSUMS = "SHA256SUMS"


def main() -> None:
    """Write them, each where it was."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--version", default=__version__, help="what the packages call themselves")
    parser.add_argument("--into", type=Path, default=ROOT / "dist", help="the folder, which is emptied before")
    chosen = parser.parse_args()
    into = chosen.into.absolute()
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)

    time = epoch(ROOT)
    wheel = python.distributions(ROOT, into, time=time)
    python.one_file(wheel, into / "zerotrust.pyz", time=time)
    tree = environment.make(ROOT, STAGE / "environment", wheel=wheel, time=time)
    bill.write(tree, into / "zerotrust-broker.cdx.json", root=ROOT, time=time)
    packages.make(ROOT, STAGE, into, wheel=wheel, version=chosen.version, time=time)
    _sum(into)
    for file in sorted(into.iterdir()):
        print(f"{file.stat().st_size / 1e6:6.1f} MB  {file.name}")  # noqa: T201  what was made is this program's answer


def _sum(folder: Path) -> None:
    """As ``sha256sum --check`` reads it."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(folder.iterdir())]
    (folder / CHECKSUMS).write_text("".join(lines))


if __name__ == "__main__":
    main()
