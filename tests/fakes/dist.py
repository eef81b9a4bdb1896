"""What ``make dist`` made, as tests take it from ``dist/``; and the same as it may have been a version ago."""

from __future__ import annotations

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
    """The broker's package for Debian of a lower version, whose sample of a configuration says something else."""
    sample = folder / "config.yaml"
    sample.write_text((STAGE / "rest/release/config.yaml").read_text() + OLDER_LINE)
    recipe = (STAGE / "rest/release/broker.yaml").read_text().replace("rest/release/config.yaml", str(sample))
    # It is read once: packing it tight would take longer.
    (folder / "broker.yaml").write_text(recipe.replace("compression: zstd", "compression: none"))
    packages.pack(folder / "broker.yaml", "deb", stage=STAGE, into=folder, version=OLDER, time=0)
    (made,) = folder.glob("*.deb")
    return made
