"""``python -m release``: writes ``dist/``; at once where it was made of the same and is whole."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
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
    into, time = chosen.into.absolute(), epoch(ROOT)
    stamp, made_of = STAGE / "made-of", _made_of(into, chosen.version, time)
    if not (made_of and stamp.exists() and stamp.read_text() == made_of and _is_whole(into)):
        stamp.unlink(missing_ok=True)
        _make(into, version=chosen.version, time=time)
        stamp.write_text(made_of)
    for file in sorted(into.iterdir()):
        print(f"{file.stat().st_size / 1e6:6.1f} MB  {file.name}")  # noqa: T201  what was made is this program's answer


def _make(into: Path, *, version: str, time: int) -> None:
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    wheel = python.distributions(ROOT, into, time=time)
    python.one_file(wheel, into / "zerotrust.pyz", time=time)
    tree = environment.make(ROOT, STAGE / "environment", wheel=wheel, time=time)
    bill.write(tree, into / "zerotrust-broker.cdx.json", root=ROOT, time=time)
    packages.make(ROOT, STAGE, into, wheel=wheel, version=version, time=time)
    _sum(into)


def _made_of(into: Path, version: str, time: int) -> str:
    """One number for all that the result depends on; empty where git, which knows what belongs to the source, is not asked."""
    ask = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    asked = subprocess.run(ask, capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        return ""
    whole = hashlib.sha256(f"{into} {version} {time}".encode())
    for name in sorted(set(asked.stdout.split("\0")) - {""}):
        file = ROOT / name
        if file.is_file():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            whole.update(f"\0{name} {file.stat().st_mode:o} {content}".encode())
    return whole.hexdigest()


def _is_whole(folder: Path) -> bool:
    """Whether there is what was made, nothing else, and none of it changed."""
    try:
        said = dict(line.split()[::-1] for line in (folder / CHECKSUMS).read_text().splitlines())
    except FileNotFoundError:
        return False
    return said == {name: found for name, found in _sums(folder).items() if name != CHECKSUMS}


def _sum(folder: Path) -> None:
    """As ``sha256sum --check`` reads it."""
    (folder / CHECKSUMS).write_text("".join(f"{found}  {name}\n" for name, found in _sums(folder).items()))


def _sums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


if __name__ == "__main__":
    main()
