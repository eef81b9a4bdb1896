"""Pages of the manual as MyST Markdown, with the methods of ``man.roff.Page``."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What Markdown would take for markup outside of backticks.
_MARKUP = re.compile(r"([\\*<>\[\]{}|]|(?<!\w)_|_(?!\w))")
# A reference to another page of the manual, alone in its backticks.
_PAGE = re.compile(r"`(zerotrust[a-z-]*)\([18]\)`")


class Page:
    """A page as it grows."""

    def __init__(self, title: str, *, section: int, source: str, manual: str, about: str) -> None:
        del section, source, manual
        self._parts = [f"# {title}", sentence(f"{about[:1].upper()}{about[1:]}.")]

    def heading(self, title: str) -> None:
        """A section."""
        self._parts.append(f"## {escaped(title.capitalize())}")

    def subheading(self, title: str) -> None:
        """A part of a section."""
        self._parts.append(f"### {escaped(title)}")

    def paragraphs(self, texts: Iterable[str]) -> None:
        """Sentences; what stands in backticks is code."""
        self._parts += [sentence(text) for text in texts]

    def remark(self, text: str) -> None:
        """A paragraph behind a list."""
        self._parts.append(sentence(text))

    def synopsis(self, program: str, parts: Iterable[str]) -> None:
        """How a command is called."""
        self._parts.append(f"```text\n{' '.join([program, *parts])}\n```")

    def explained(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Words, and what each is."""
        self._parts += ["\n".join(f"- `{left}`: {sentence(text)}" for left, text in pairs)]

    def made(self) -> str:
        """The file."""
        return "\n\n".join(part for part in self._parts if part) + "\n"


def sentence(text: str) -> str:
    """Text in one line; code stays code, and what only looks like markup stays text."""
    pieces = re.split("(`[^`]+`)", " ".join(text.split()))
    return "".join(_linked(piece) if piece.startswith("`") else escaped(piece) for piece in pieces)


def escaped(text: str) -> str:
    """Text that reads as it is written."""
    return _MARKUP.sub(r"\\\1", text)


def _linked(code: str) -> str:
    found = _PAGE.fullmatch(code)
    return f"[{code}]({found[1]}.md)" if found else code
