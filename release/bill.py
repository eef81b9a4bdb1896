"""The bill of materials (CycloneDX), and who holds the copyright of what is in the broker's package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from release import environment


def write(tree: Path, target: Path, *, root: Path, time: int) -> None:
    """Of the very environment that is packed: names, versions, licences and what needs what.

    Args:
        tree: The environment's folder.
        target: The file.
        root: The repository.
        time: Stands in it as the time of its making.

    Raises:
        environment.Unfit: What is in the environment is not what is in the lock.
    """
    tool = Path(sys.executable).parent / "cyclonedx-py"
    options: list[str | Path] = [
        "--output-reproducible",
        "--sv",
        "1.6",
        "--of",
        "JSON",
        "--pyproject",
        root / "pyproject.toml",
    ]
    command: list[str | Path] = [tool, "environment", *options, "--output-file", target, tree / "bin/python3"]
    subprocess.run(
        command,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(time)},
        check=True,
    )
    listed = {_plain(part["name"]): part["version"] for part in json.loads(target.read_text())["components"]}
    wanted = {_plain(name): version for name, version in environment.locked(root / environment.LOCK).items()}
    if listed != wanted:
        raise environment.Unfit(f"the environment and its lock differ in {sorted(listed.items() ^ wanted.items())}")


def _plain(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licences(bill: Path) -> list[tuple[str, str, str]]:
    """Name, version and licence of each part."""
    parts = json.loads(bill.read_text())["components"]
    return sorted((part["name"], part["version"], _licence(part)) for part in parts)


def _licence(part: dict[str, Any]) -> str:
    said = [entry.get("expression") or _named(entry["license"]) for entry in part.get("licenses", ())]
    return " AND ".join(dict.fromkeys(said))


def _named(licence: dict[str, str]) -> str:
    return licence.get("id") or licence["name"]
