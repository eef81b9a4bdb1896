"""The table, on the terminal and in docs/performance.md, and the file with every single number. Pure but for ``write``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.row import Part, Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

HEADINGS = ("#", "what", "ours", "peer", "ratio", "95 % interval", "goal", "reached")


def table(found: Sequence[Row]) -> str:
    """Markdown whose columns also line up on a terminal."""
    lines = [HEADINGS, *(row.cells() for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def remarks(machine: Mapping[str, Any], parts: Mapping[str, Part]) -> str:
    """Where the table comes from, and what to think of it."""
    apache = machine["apache"].removeprefix("Server version: ")
    said = [
        f"{machine['date'][:10]}, {machine['cores']} cores of {machine['cpu']}, {machine['system']},",
        f"Linux {machine['kernel']}, Python {machine['python']}, {apache}, {machine['krb5']}.",
        *(remark for part in parts.values() for remark in part.remarks),
    ]
    if machine["busy"]:
        load = machine["load_average_before"]
        said.append(
            f"The machine was not idle before the start (load average {load:.1f}): expect wider intervals than on a quiet one."
        )
    return "\n".join(said)


def recorded(document: str, content: str) -> str:
    """The document with ``content`` between the markers of this table. Raises like ``between``."""
    return between(document, "bench", content)


def between(document: str, name: str, content: str) -> str:
    """The document with ``content`` between its markers of a name.

    Raises:
        ValueError: The markers are missing.
    """
    begin_here, end_here = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, begin, rest = document.partition(begin_here)
    _, end, after = rest.partition(end_here)
    if not begin or not end:
        raise ValueError(f"{begin_here} and {end_here} are missing")
    return f"{before}{begin}\n{content.strip()}\n{end}{after}"


def write(path: Path, *, machine: Mapping[str, Any], parts: Mapping[str, Part]) -> None:
    """Write every number as JSON."""
    content = {
        "machine": machine,
        "rows": [dataclasses.asdict(row) | {"reached": row.reached} for part in parts.values() for row in part.rows],
        "numbers": {name: part.numbers for name, part in parts.items()},
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
