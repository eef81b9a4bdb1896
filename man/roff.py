"""roff of the ``man`` kind (man(7)), little of it, for groff and mandoc alike."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

# Of the wording. A page that is made again is the same to the byte, so today's date has no place here.
_DATE = "2026-11-22"
# Columns of the source; mandoc's lint asks for it.
_WIDTH = 78

# What roff, or a terminal that shows UTF-8, would make something else of.
_ESCAPES = {
    "\\": "\\e",
    "-": "\\-",
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
    "—": "\\(em",
    "\N{EN DASH}": "\\(en",
    "→": "\\(->",
}
_CODE = re.compile("`([^`]+)`")


class Page:
    """A page as it grows, line by line."""

    def __init__(self, title: str, *, section: int, source: str, manual: str, about: str) -> None:
        self._lines = [f'.TH {title.upper()} {section} {_DATE} "{source}" "{manual}"']
        self.heading("NAME")
        self._lines += _wrapped(f"{escaped(title)} \\- {escaped(about)}")

    def heading(self, title: str) -> None:
        """A section."""
        self._lines.append(f'.SH "{escaped(title)}"')

    def subheading(self, title: str) -> None:
        """A part of a section."""
        self._lines.append(f'.SS "{escaped(title)}"')

    def paragraphs(self, texts: Iterable[str]) -> None:
        """Sentences; what stands in backticks is bold."""
        for at, text in enumerate(texts):
            self._lines += [*([".PP"] if at else []), *_lines_of(text)]

    def remark(self, text: str) -> None:
        """A paragraph behind a list."""
        self._lines += [".PP", *_lines_of(text)]

    def synopsis(self, program: str, parts: Iterable[str]) -> None:
        """How a command is called; parts are not torn apart."""
        held = " ".join(escaped(part).replace(" ", "\\ ") for part in parts)
        self._lines += [".nh", ".ad l", f"\\fB{escaped(program)}\\fR {held}", ".ad", ".hy"]

    def explained(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Words in bold, and what each is."""
        for left, text in pairs:
            self._lines += [".TP", f"\\fB{escaped(left)}\\fR", *_lines_of(text)]

    def made(self) -> str:
        """The file."""
        return "\n".join(self._lines) + "\n"


def escaped(text: str) -> str:
    """Text that reads as it is written."""
    return "".join(_ESCAPES.get(char, char) for char in text)


def _lines_of(text: str) -> list[str]:
    pieces = _CODE.split(" ".join(text.split()))
    whole = "".join(f"\\fB{escaped(piece)}\\fR" if at % 2 else escaped(piece) for at, piece in enumerate(pieces))
    # A sentence ends where its line does: roff then knows what is between two of them.
    return [line for sentence in re.split(r"(?<=[a-z)][.:]) (?=[A-Z])", whole) for line in _wrapped(sentence)]


def _wrapped(text: str) -> list[str]:
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    # At the beginning of a line a full stop would be a request.
    return [f"\\&{line}" if line.startswith(".") else line for line in lines]
