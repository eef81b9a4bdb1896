"""YAML text -> Tree: the small part of YAML 1.2 that a configuration needs, with the line of everything.

Built from the parser's events, so that what must not be is refused before anything is built from it: anchors and aliases
(alias bombs), tags, a second document, keys that are no text, duplicate keys, values left empty, and depth beyond any
configuration of ours. A whole value of the form ``${NAME}`` is replaced from the environment.
No message repeats text of the file: a syntax error is often an unquoted password.

libyaml reads it, thirty times as fast as a parser in Python could: a hundred thousand rules are eight megabytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.reader import ReaderError

from broker.config.tree import Origin, Path, Tree, Value

# The deepest key (roles.NAME.chain[N].external_id) lies at five; a hundred brackets are an attack or an accident.
_DEPTH_MAX = 16

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# YAML 1.2 core schema, section 10.3.2: what a plain scalar may be other than text, and what any of that begins with.
_NO_TEXT_BEGINS_WITH = frozenset("~nNtTfF+-.0123456789")
_NULL = re.compile(r"(?:~|null|Null|NULL|)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
# A number that has one reading, in YAML 1.1 as in 1.2: small, and without leading zeros.
_COUNT = re.compile(r"0|[1-9][0-9]{0,8}")
# Of no key that takes a number: what looks like one and is none.
_NO_COUNT = -1
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)")
_FLOAT = re.compile(
    r"[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
# libyaml ends a line, and a comment, where YAML 1.1 did; no editor or review of a change shows a line there, nor what goes
# from right to left as it is read ("Trojan Source", CVE-2021-42574).
_UNSEEN = re.compile("\r(?!\n)|[\x85\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
# A quoted sign, escaped perhaps: '}' or '\\t'.
_QUOTED_SIGN_MAX_CHARS = 4
# PyYAML's own parser says better than libyaml what is wrong, and takes two seconds for so much.
_SAID_BETTER_MAX_CHARS = 512 * 1024
# What libyaml says of "\ud800" and its like.
_HALF = "found invalid Unicode character escape code"


_Node: TypeAlias = MappingStartEvent | SequenceStartEvent | ScalarEvent


class _Unreadable(Exception):  # ends the reading; never leaves this module
    """The rest of the text cannot be given a meaning."""


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open."""

    path: Path
    items: list[Value] | dict[str, Value]
    key: str | None = None
    lines: dict[str, int] = field(default_factory=dict)


def parse(text: str, *, name: str, environ: Mapping[str, str]) -> Tree:
    """Read one YAML document whose top is a mapping.

    Args:
        text: The document.
        name: The file's name, for places such as ``config.yaml:12``.
        environ: What ``${NAME}`` refers to.

    Returns:
        The tree, with every problem met; lists are tuples. After a syntax error it holds only what came before.
    """
    tree = Tree(root=Origin(f"{name}:1", shown=True))
    value = _Builder(tree, place=lambda line: f"{name}:{line}", environ=environ).read(text)
    if isinstance(value, dict):
        tree.data = value
    elif value is not None or not tree.problems:
        tree.refuse((), "the document is no mapping", "write the configuration as key: value lines")
    return tree


def parse_variable(text: str, *, tree: Tree, path: tuple[str, ...], place: str, environ: Mapping[str, str]) -> None:
    """Put a list or mapping, written as YAML in an environment variable, at ``path`` of ``tree``."""
    value = _Builder(tree, place=lambda _line: place, environ=environ, top=path, shown=False).read(text)
    tree.set(path, value, Origin(place, shown=False))


class _Builder:
    """Takes the parser's events. The stack of open collections is its own, so depth costs no recursion."""

    def __init__(
        self,
        tree: Tree,
        *,
        place: Callable[[int], str],
        environ: Mapping[str, str],
        top: Path = (),
        shown: bool = True,
    ) -> None:
        self._tree = tree
        self._place = place
        self._environ = environ
        self._top = top
        self._shown = shown
        self._open: list[_Frame] = []
        self._origin = (0, Origin("", shown=shown))
        self._documents = 0
        self._value: Value = None

    def read(self, text: str) -> Value:
        """The document's value; its problems and origins go to the tree."""
        try:
            if _SURROGATE.search(text):
                self._stop(1, "is not UTF-8 text", "encode it as UTF-8")
            if unseen := _UNSEEN.search(text):
                line = text.count("\n", 0, unseen.start()) + 1
                self._stop(line, f"holds the invisible character U+{ord(unseen[0]):04X}", "remove it")
            for event in yaml.parse(text, Loader=yaml.CSafeLoader):
                self._take(event)
        except _Unreadable:
            pass
        except yaml.YAMLError as error:
            self._refuse(self._top, *_syntax(error, text))
        return self._value

    def _take(self, event: Event) -> None:
        line = event.start_mark.line + 1
        # The most frequent first: there are a million of them in a long policy.
        match event:
            case ScalarEvent():
                self._scalar(event, line)
            case MappingStartEvent():
                self._begin(event, {}, line)
            case SequenceStartEvent():
                self._begin(event, [], line)
            case MappingEndEvent() | SequenceEndEvent():
                items = self._open.pop().items
                self._fill(items if isinstance(items, dict) else tuple(items))
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._stop(line, "a second document begins here", "keep one document, without a further ---")
            case AliasEvent():
                self._alias(line)

    def _begin(self, event: _Node, items: list[Value] | dict[str, Value], line: int) -> None:
        if self._wants_key():
            self._stop(line, "a list or mapping stands where a key belongs", "quote a key that holds { or [")
        if len(self._open) >= _DEPTH_MAX:
            self._stop(line, f"is nested deeper than {_DEPTH_MAX} levels", "remove the superfluous levels")
        path = self._here(line)
        self._refuse_features(event, path, line)
        self._open.append(_Frame(path, items))

    def _scalar(self, event: ScalarEvent, line: int) -> None:
        text = event.value
        value = text if event.style or event.tag is not None else _resolve(text)
        if self._wants_key():
            self._key(text, value, line)
            self._refuse_features(event, (*self._open[-1].path, text), line)
            return
        path = self._here(line)
        self._refuse_features(event, path, line)
        if value is None:
            # Nothing is found where the next thing begins; what lacks it is the key.
            line = self._open[-1].lines.get(self._open[-1].key or "", line) if self._open else line
            self._refuse(path, line, "has no value", "give it one ({} for an empty mapping), or remove the key")
        self._fill(self._dereference(value, path, line) if isinstance(value, str) else value)

    def _key(self, text: str, value: Value, line: int) -> None:
        frame = self._open[-1]
        path = (*frame.path, text)
        if not isinstance(value, str):
            self._tree.note(self._place(line), path, "the key is not text", "put the key in quotes")
        if text in frame.lines:
            what = f"the key stands in line {frame.lines[text]} already"
            self._tree.note(self._place(line), path, what, "keep one of the two")
        frame.lines[text] = line
        frame.key = text

    def _dereference(self, text: str, path: Path, line: int) -> Value:
        """``${NAME}`` -> the variable; a reference that would silently stay as it is, is refused."""
        if "$" not in text:
            return text
        reference = _REFERENCE.fullmatch(text)
        if reference is None:
            if _REFERENCE.search(text):
                self._refuse(path, line, "holds ${NAME} beside other text", "let ${NAME} be the whole value")
            return text
        name = reference[1]
        self._tree.origins[path] = Origin(self._place(line), shown=False)
        if name not in self._environ:
            self._refuse(path, line, f"refers to {name}, which is not set", f"set {name} in the environment")
        return self._environ.get(name)

    def _alias(self, line: int) -> None:
        if self._wants_key():
            self._stop(line, "an alias (*name) stands where a key belongs", "put text that begins with * in quotes")
        self._refuse(
            self._here(line), line, "is an alias (*name)", "write the value out; quote text that begins with *"
        )
        self._fill(None)

    def _refuse_features(self, event: _Node, path: Path, line: int) -> None:
        if event.anchor is not None:
            self._refuse(path, line, "has an anchor (&name)", "write values out; quote text that begins with &")
        if event.tag is not None:
            self._refuse(path, line, "has a tag (!name)", "remove the tag; quote text that begins with !")

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].items, dict) and self._open[-1].key is None

    def _here(self, line: int) -> Path:
        """The path of the value that comes next, its line noted: for a mapping's value the line of its key."""
        if not self._open:
            return self._top
        frame = self._open[-1]
        part = len(frame.items) if frame.key is None else frame.key
        path = (*frame.path, part)
        line = line if frame.key is None else frame.lines[frame.key]
        if line != self._origin[0]:
            self._origin = (line, Origin(self._place(line), shown=self._shown))
        self._tree.origins[path] = self._origin[1]
        return path

    def _fill(self, value: Value) -> None:
        if not self._open:
            self._value = value
            return
        frame = self._open[-1]
        if isinstance(frame.items, list):
            frame.items.append(value)
        elif frame.key is not None:
            frame.items[frame.key] = value
            frame.key = None

    def _refuse(self, path: Path, line: int, what: str, fix: str) -> None:
        self._tree.refuse(path, what, fix, place=self._place(line))

    def _stop(self, line: int, what: str, fix: str) -> NoReturn:
        self._refuse(self._top, line, what, fix)
        raise _Unreadable


def _syntax(error: yaml.YAMLError, text: str) -> tuple[int, str, str]:
    """The line, and what is wrong without what the parser quotes of the text, and the fix."""
    error = _said_better(error, text)
    if isinstance(error, ReaderError):
        line, reason = text.count("\n", 0, error.position) + 1, "a control character"
    else:
        line, reason = error.problem_mark.line + 1, _QUOTED.sub(_without_text, error.problem)
    if reason == _HALF:
        return line, "half a character (\\ud800 to \\udfff)", "write the character itself"
    return line, f"is not valid YAML: {reason}", "correct the syntax; put text with signs in quotes"


def _said_better(error: yaml.YAMLError, text: str) -> yaml.YAMLError:
    """What PyYAML's own parser says of the same text, if it says anything and does so in time."""
    if len(text) > _SAID_BETTER_MAX_CHARS:
        return error
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.YAMLError as better:
        return better
    return error


def _without_text(quoted: re.Match[str]) -> str:
    """The parser quotes signs, its tokens' names such as '<scalar>', and the text itself, which may be a password."""
    is_harmless = len(quoted[0]) <= _QUOTED_SIGN_MAX_CHARS or quoted[0].startswith("'<")
    return quoted[0] if is_harmless else "..."


def _resolve(text: str) -> Value:
    """A plain scalar by the core schema; of numbers, those that have one reading.

    All others (1.0, 0x2, 02) are told from text only to be refused: none may pass for a number that somebody did not write.
    """
    if text and text[0] not in _NO_TEXT_BEGINS_WITH:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _COUNT.fullmatch(text):
        return int(text)
    return _NO_COUNT if _INT.fullmatch(text) or _FLOAT.fullmatch(text) else text
