"""What ``make dist`` made, as tests take it from ``dist/``; and the same as it may have been a version ago."""

from __future__ import annotations

import shutil
from pathlib import Path

from release import packages

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
STAGE = ROOT / ".venv/dist"
OLDER = "0.0.9"
# In the older version's sample alone.
OLDER_LINE = "# As it was said before.\n"


def made(pattern: str) -> Path:
    """The one file of ``dist/`` whose name is like this.

    Raises:
        FileNotFoundError: Nobody has made it.
    """
    found = list(DIST.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"dist/{pattern}: {len(found)} files; run: make dist")
    return found[0]


def older(folder: Path) -> Path:
    """A folder with the packages for Debian of a lower version, whose sample of a configuration says something else."""
    stage = folder / "stage"
    shutil.copytree(STAGE, stage, symlinks=True)
    with (stage / "rest/release/config.yaml").open("a") as sample:
        sample.write(OLDER_LINE)
    for name in ("broker", "client"):
        recipe = stage / f"rest/release/{name}.yaml"
        # It is read once: packing it tight would take longer.
        recipe.write_text(recipe.read_text().replace("compression: zstd", "compression: none"))
    into = folder / "older"
    into.mkdir()
    packages.pack(stage, into, version=OLDER, time=0, kinds=["deb"])
    shutil.rmtree(stage)
    return into
