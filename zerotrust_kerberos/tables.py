"""Answers as people and as programs read them: a table on a terminal, columns behind tabs in a pipe, JSON, CSV.

On a terminal columns are aligned under a head, and those that are empty everywhere are left out. In a pipe there is no head
and every column has its place, whatever is in it: ``zerotrust roles | cut -f1`` gives the names today and tomorrow. New columns
come at the end. Colour is for terminals alone, and for none where NO_COLOR is set (no-color.org) or TERM is ``dumb``.
"""

from __future__ import annotations

import os

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zerotrust_kerberos.commands import Call

    Rows = Sequence[Sequence[str]]

TABLE, TSV, JSON, CSV = FORMATS = ("table", "tsv", "json", "csv")

_STDOUT = 1
_GAP = "  "
_BOLD, _RED, _GREEN, _YELLOW = "1", "31", "32", "33"
# Words that stand alone in a cell and say how things are.
_COLOURS = {
    **dict.fromkeys(("allowed", "open"), _GREEN),
    **dict.fromkeys(("pending", "approval", "step_up"), _YELLOW),
    **dict.fromkeys(("denied", "production"), _RED),
}
# What a spreadsheet takes for a formula, in a text that somebody else wrote (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def form(call: Call) -> str:
    """One of ``FORMATS``: what was asked for; otherwise by where stdout leads.

    Raises:
        Failure: There is none of this name.
    """
    asked = call.options.get("format", JSON if "json" in call.switches else None)
    if asked is None:
        return TABLE if os.isatty(_STDOUT) else TSV
    if asked not in FORMATS or ("json" in call.switches and asked != JSON):
        what = f"--format is one of {', '.join(FORMATS)}" if asked not in FORMATS else f"--json is not --format {asked}"
        raise Failure("usage", what, fix=f"zerotrust help {call.name}")
    return asked


def shown(kind: str, *, answer: Mapping[str, object], columns: Sequence[str], rows: Rows) -> str:
    """An answer that is a list.

    Args:
        kind: One of ``FORMATS``.
        answer: What the broker said; JSON is that, as it is.
        columns: Heads, in capitals on a terminal and small in CSV.
        rows: As many cells each. They may be anybody's words.
    """
    if kind == JSON:
        return _json(answer)
    cells = [[printable(cell) for cell in row] for row in rows]
    if kind == CSV:
        return _csv([columns, *cells])
    if kind == TSV:
        return "\n".join("\t".join(row) for row in cells)
    used = [at for at, _ in enumerate(columns) if any(row[at] for row in cells)]
    head = [columns[at].upper() for at in used]
    return _aligned([[row[at] for at in used] for row in cells], head=head) if cells else ""


def told(kind: str, *, answer: Mapping[str, object], pairs: Rows) -> str:
    """An answer that is one thing: names and values. They have no head."""
    if kind == JSON:
        return _json(answer)
    cells = [[printable(cell) for cell in pair] for pair in pairs]
    if kind == CSV:
        return _csv([("name", "value"), *cells])
    return "\n".join("\t".join(pair) for pair in cells) if kind == TSV else _aligned(cells, head=())


def printable(text: str) -> str:
    """Somebody's words, harmless on a terminal and in a column: no escape sequences, no line ends, no tabs, no turned writing."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _aligned(rows: Rows, *, head: Sequence[str]) -> str:
    widths = [max(len(row[at]) for row in (head or rows[0], *rows)) for at in range(len(rows[0]))]
    lines = [_line(head, widths, [_BOLD] * len(head))] if head else []
    for row in rows:
        colours = (
            [_COLOURS.get(cell, "") for cell in row] if head else [_BOLD, *(_COLOURS.get(cell, "") for cell in row[1:])]
        )
        lines.append(_line(row, widths, colours))
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int], colours: Sequence[str]) -> str:
    """Colour is put around a cell, blanks outside: a cell's escape sequences have no width."""
    is_coloured = has_colour()
    last = max((at for at, cell in enumerate(cells) if cell), default=0)
    parts = []
    for at in range(last + 1):
        cell, colour = cells[at], colours[at]
        pad = " " * (widths[at] - len(cell)) if at < last else ""
        parts.append((f"\x1b[{colour}m{cell}\x1b[0m" if is_coloured and colour and cell else cell) + pad)
    return _GAP.join(parts)


def has_colour() -> bool:
    """Whether stdout shows colour, and nobody said no."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in {"", "dumb"} and os.isatty(_STDOUT)


def _json(answer: Mapping[str, object]) -> str:
    import json  # noqa: PLC0415  only for whom asks for it

    return json.dumps(answer)


def _csv(rows: Rows) -> str:
    """RFC 4180, with the line ends of this system. What a spreadsheet would run has an apostrophe before it."""
    import csv  # noqa: PLC0415  only for whom asks for it
    import io  # noqa: PLC0415

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row] for row in rows)
    return text.getvalue().rstrip("\n")
