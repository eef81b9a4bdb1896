r"""Session tags: what AWS allows in one, and how an identity becomes one.

A template is literal text with placeholders. Each placeholder's text tells its values apart: no two principals or realms have the
same, and no two groups of one realm (``group_text``). Whatever a template gives is within AWS's character set; how long it can
become is known beforehand. One placeholder stands for no identity but for the event that a session is made for; it stays in the
text until then (``for_event``), so that people who share a cache entry are told apart by who they are and by nothing else.

Sources: STS API Reference, Tag (key 1-128, value 0-256, ``[\p{L}\p{Z}\p{N}_.:/=+\-@]``); IAM User Guide, "Rules for tagging
in IAM and AWS STS" (keys do not differ by case alone, ``aws:`` is reserved).
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from broker.core.principal import SESSION_NAME_MAX, Principal

TAGS_MAX = 50
KEY_MAX = 128
VALUE_MAX = 256
RESERVED = "aws:"
# A request id, as the doors make it: hexadecimal digits.
EVENT_MAX = 32

_SIGNS = frozenset("_.:/=+-@")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# What nearly every name is made of, so that a hundred thousand rules are read soon.
_PLAIN = re.compile(r"[A-Za-z0-9 _.:/+@-]*")
# A SID or the part behind REALM\.
_IN_REALM = "\\"


class MalformedTag(ValueError):
    """AWS would refuse it: ``what`` is wrong with it, and the ``fix``."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what} — fix: {fix}")
        self.what = what
        self.fix = fix


class Placeholder(StrEnum):
    """What a template can name."""

    PRINCIPAL = "principal"
    REALM = "realm"
    GROUP = "group"
    RULE = "rule"
    ROLE = "role"
    EVENT = "event"


# What a template's text holds in the event's place until there is one. AWS takes no braces, so it reaches no session by mistake.
EVENT_TO_COME = f"{{{Placeholder.EVENT}}}"


Values = Mapping[Placeholder, str | None]


@dataclass(frozen=True, slots=True)
class TagTemplate:
    """Literal text and placeholders, in their order."""

    text: str
    parts: tuple[str | Placeholder, ...]

    @classmethod
    def parse(cls, text: str) -> TagTemplate:
        """Take ``dev-{group}`` apart.

        Raises:
            MalformedTag: No such placeholder, or literal text that AWS does not take.
        """
        # re.split with one group: literal, name, literal, name, ..., literal. Braces are in no tag, so they need no quoting.
        pieces = _PLACEHOLDER.split(text)
        parts: list[str | Placeholder] = []
        for place, piece in enumerate(pieces):
            if place % 2:
                parts.append(_placeholder(piece))
            elif piece:
                _check_chars(piece)
                parts.append(piece)
        return cls(text=text, parts=tuple(parts))

    def names(self, placeholder: Placeholder) -> bool:
        """Whether it stands in the template."""
        return placeholder in [part for part in self.parts if isinstance(part, Placeholder)]

    def render(self, values: Values) -> str | None:
        """The tag's value; None where a placeholder has none, for an identity must not look like nobody's."""
        texts = [values[part] if isinstance(part, Placeholder) else part for part in self.parts]
        return None if None in texts else "".join(text for text in texts if text is not None)

    def longest(self, lengths: Mapping[Placeholder, int]) -> int:
        """Characters, where no placeholder has more than these."""
        return sum(lengths[part] if isinstance(part, Placeholder) else len(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Tag:
    """What a role says of one tag. A transitive one stays through the chain; an optional one may be left out."""

    key: str
    template: TagTemplate
    transitive: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class SessionTag:
    """One tag of somebody's session."""

    key: str
    value: str
    transitive: bool
    optional: bool

    def for_event(self, event: str | None) -> SessionTag:
        """The same for a session that is made for this request; without one, what still waits for it AWS would refuse."""
        return self if event is None else replace(self, value=self.value.replace(EVENT_TO_COME, event))


def principal_text(principal: Principal) -> str:
    """The session name as tags can hold it: they have no comma, and session names no slash."""
    return principal.session_name().replace(",", "/")


def encoded(text: str) -> str:
    """Letters, digits, spaces and ``_.:/+-@`` as they are; everything else as ``=`` and two hex digits a UTF-8 byte."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(
        char if _is_plain(char) else "".join(f"={byte:02X}" for byte in char.encode(errors="surrogatepass"))
        for char in text
    )


def group_text(group: str) -> str:
    r"""The name of a group without ``REALM\``, or its SID."""
    realm, separator, name = group.partition(_IN_REALM)
    return encoded(name if separator else realm)


def longest(
    *, realms: Iterable[str], groups: Iterable[str], rules: Iterable[str], roles: Iterable[str]
) -> dict[Placeholder, int]:
    """How long each placeholder's text can be under one policy."""
    return {
        Placeholder.PRINCIPAL: SESSION_NAME_MAX,
        Placeholder.REALM: max((len(encoded(realm)) for realm in realms), default=0),
        Placeholder.GROUP: max((len(group_text(group)) for group in groups), default=0),
        Placeholder.RULE: max(map(len, rules), default=0),
        Placeholder.ROLE: max(map(len, roles), default=0),
        Placeholder.EVENT: EVENT_MAX,
    }


def check_key(key: str) -> None:
    """Raises ``MalformedTag`` where AWS would refuse the key."""
    if not 1 <= len(key) <= KEY_MAX:
        raise MalformedTag(f"has not 1 to {KEY_MAX} characters", "shorten it")
    if key.casefold().startswith(RESERVED):
        raise MalformedTag(f"begins with {RESERVED}, which AWS keeps for itself", "choose another name")
    _check_chars(key)


def check(tags: Sequence[SessionTag]) -> None:
    """Raises ``MalformedTag`` where AWS would refuse a session's tags, one or all."""
    if len(tags) > TAGS_MAX:
        raise MalformedTag(f"are more than {TAGS_MAX} tags", "remove some")
    check_distinct([tag.key for tag in tags])
    for tag in tags:
        check_key(tag.key)
        _check_chars(tag.value)
        if len(tag.value) > VALUE_MAX:
            raise MalformedTag(f"has a value of more than {VALUE_MAX} characters", "shorten it")


def check_distinct(keys: Sequence[str]) -> None:
    """Raises ``MalformedTag`` where two keys differ by case alone."""
    seen: dict[str, str] = {}
    for key in keys:
        other = seen.setdefault(key.casefold(), key)
        if other != key:
            raise MalformedTag(f"has {other} and {key}, which are one key to AWS", "keep one of the two")


def _placeholder(name: str) -> Placeholder:
    try:
        return Placeholder(name)
    except ValueError:
        near = difflib.get_close_matches(name, list(Placeholder), n=1)
        known = ", ".join(f"{{{one}}}" for one in Placeholder)
        fix = f"write {{{near[0]}}}" if near else f"write one of {known}"
        raise MalformedTag(f"has {{{name[:32]}}}, which is no placeholder", fix) from None


def _check_chars(text: str) -> None:
    wrong = [char for char in text if not (char in _SIGNS or unicodedata.category(char)[0] in "LZN")]
    if wrong:
        fix = "use letters, digits, spaces and _.:/=+-@"
        raise MalformedTag(f"has the character {wrong[0]!a}, which no AWS tag can hold", fix)


def _is_plain(char: str) -> bool:
    # "=" begins an encoded byte, so it is encoded itself; other spaces than U+0020 look like it.
    return char != "=" and (char in _SIGNS or char == " " or unicodedata.category(char)[0] in "LN")
