"""An AWS configuration file as text, read the way botocore reads it, with the lines that everything stands on.

The AWS CLI and botocore read the file with ``configparser`` and split the names of sections like words of a shell, so
``[profile a]``, ``[profile "a"]`` and ``[profile  a]`` are one profile, and a line that is indented deeper than the key
before it continues that key's value even if it looks like a section. Whoever writes into the file has to agree.
"""

from __future__ import annotations

import configparser
import io
import re
import shlex
from dataclasses import dataclass, field

from zerotrust_kerberos.failures import Failure

# Universal newlines, as files are opened by botocore. str.splitlines would also split at characters that values may hold.
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_HEADER = re.compile(r"\[(.+)\]")  # configparser's own
_KEY = re.compile(r"([^=:]*)[=:](.*)")
_COMMENTS = ("#", ";")
_PROFILE_WORDS = 2  # [profile NAME]


@dataclass(eq=False)
class Section:
    """A section of the file.

    Attributes:
        header: What stands in the brackets.
        first: Index of its first line; the number that people count is one more.
        end: Index after its last line: comments and empty lines behind its last key are not its own.
        values: Keys in lower case, as configparser has them, and their values; continued lines follow after a line feed.
        spans: For each key its first line and the one after its last.
    """

    header: str
    first: int
    end: int
    values: dict[str, str] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def profile(self) -> str | None:
        """The profile that it is, by botocore's rules (``build_profile_map``); None for all other sections."""
        if self.header == "default":
            return self.header
        if not self.header.startswith("profile"):
            return None
        try:
            words = shlex.split(self.header)
        except ValueError:
            return None
        return words[1] if len(words) == _PROFILE_WORDS else None


def lines_of(text: str) -> list[str]:
    """The lines with their ends."""
    return _LINES.findall(text)


def sections(lines: list[str]) -> list[Section]:
    """All sections in order."""
    found: list[Section] = []
    key, depth = "", 0
    for at, line in enumerate(lines):
        said = line.strip()
        if not said or said.startswith(_COMMENTS):
            continue
        indent = len(line) - len(line.lstrip())
        section = found[-1] if found else None
        if section is not None and key and indent > depth:
            section.values[key] += f"\n{said}"
            section.spans[key] = (section.spans[key][0], at + 1)
            section.end = at + 1
            continue
        depth, key = indent, ""
        if header := _HEADER.match(said):
            found.append(Section(header=header[1], first=at, end=at + 1))
        elif section is not None and (pair := _KEY.match(said)):
            key = pair[1].strip().lower()
            section.values[key], section.spans[key], section.end = pair[2].strip(), (at, at + 1), at + 1
    return found


def check(text: str, path: str) -> None:
    """That the AWS tools can read a file at all.

    Raises:
        Failure: ``configuration``, with the line.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_file(io.StringIO(text, newline=None))
    except configparser.Error as error:
        # A ParsingError collects lines, all others have one.
        collected = getattr(error, "errors", None)
        line = collected[0][0] if collected else getattr(error, "lineno", None)
        what = {
            configparser.DuplicateSectionError: "a section for the second time",
            configparser.DuplicateOptionError: "a key for the second time",
            configparser.MissingSectionHeaderError: "a line outside of any section",
        }.get(type(error), "a line that is no key = value")
        raise Failure(
            "configuration", f"{path}:{line}: {what}; no AWS tool reads it", fix=editing(path, line)
        ) from error


def editing(path: str, line: int | None) -> str:
    """A command that opens a file at a line; vi and its like, emacs, nano and joe all take ``+N``."""
    return f'"${{EDITOR:-vi}}" +{line or 1} {shlex.quote(path)}'


def without(lines: list[str], gone: list[tuple[int, int]]) -> list[str]:
    """The lines but for some spans of them."""
    return [line for at, line in enumerate(lines) if not any(first <= at < end for first, end in gone)]
