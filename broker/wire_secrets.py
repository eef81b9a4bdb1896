"""The shapes of secrets: paths, and the bodies of what is written, read and said about them.

Apart from ``wire``, whose every line the user's helper pays for at each start. Strict like it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from broker.wire import _encode, _Members, _members, seconds_of

# The list, and below it the secrets, each by its path.
SECRETS_PATH = "/v1/secrets"
PREFIX = f"{SECRETS_PATH}/"
# What can be asked of a secret beside its value: no path ends so.
VERSIONS = "/versions"
# What can be done with it beside writing and deleting. No path has a colon in it.
VERBS = ("describe", "undelete", "destroy", "archive", "unarchive", "purge")

# Bytes. Values may take 64 KiB together, and JSON writes some characters as six.
BODY_MAX = 256 * 1024
FIELDS_MAX = 64
# Of a person's or team's name, of what it is for. Characters.
TEXT_MAX = 1024
LABELS_MAX = 32
# What the broker can make.
KINDS = ("text", "hex", "base64", "uuid")
CLASSES = ("lower", "upper", "digits", "symbols")
_FIELD = re.compile(r"[A-Za-z0-9_.@-]{1,128}")
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_VERSION_DIGITS = 18
_KEPT_MAX = 100
_DETAILS = ("contact", "purpose", "type", "rotate_every", "expires", "versions_kept", "labels")


@dataclass(frozen=True, slots=True)
class Described:
    """What people are to know of a secret. Only the ``given`` members change; None takes a time away.

    ``rotate_every`` is in seconds, ``expires`` a text that nobody has looked at.
    """

    given: frozenset[str] = frozenset()
    contact: str = ""
    purpose: str = ""
    type: str = ""
    rotate_every: int | None = None
    expires: str | None = None
    versions_kept: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the broker makes a value: ``text`` with something of each of ``classes``, ``hex`` or ``base64`` of bytes, ``uuid``.

    ``length`` is in characters of a text, else in bytes. ``readable`` leaves out what looks like something else.
    """

    kind: str = "text"
    length: int = 32
    classes: tuple[str, ...] = ("lower", "upper", "digits")
    readable: bool = False


@dataclass(frozen=True, slots=True)
class Writing:
    """The body of ``PUT``: the values of a new version by field, those to be made by the broker, and what must be there now."""

    fields: Mapping[str, str] = field(repr=False)
    generate: Mapping[str, Recipe]
    cas: int | None
    described: Described | None


def parse_writing(body: bytes) -> Writing:
    """Read ``{"fields"?: {NAME: TEXT}, "generate"?: {NAME: RECIPE}, "cas"?: N, "metadata"?: {...}}`` strictly.

    At least one field, given or to be made. A recipe is
    ``{"kind"?: one of KINDS, "length"?: N, "classes"?: some of CLASSES, "readable"?: true}``.

    Raises:
        ValueError: Its text is a sentence for the client; it never quotes what was sent.
    """
    members = _members(body, ("fields", "generate", "cas", "metadata"), BODY_MAX)
    fields = _texts(members.get("fields", _Members()), "fields")
    recipes = _object(members.get("generate", _Members()), "generate")
    generate = {name: _recipe(value) for name, value in recipes.items()}
    if not 1 <= len(fields) + len(generate) <= FIELDS_MAX:
        raise ValueError(f'Give 1 to {FIELDS_MAX} fields by "fields" and "generate".')
    if fields.keys() & generate.keys():
        raise ValueError('A field stands in "fields" and in "generate".')
    if not all(map(_FIELD.fullmatch, (*fields, *generate))):
        raise ValueError("The name of a field must be 1 to 128 of A-Z a-z 0-9 _ . @ and -.")
    return Writing(
        fields=fields,
        generate=generate,
        cas=_number(members["cas"], "cas") if "cas" in members else None,
        described=_described(members["metadata"]) if "metadata" in members else None,
    )


def writing(
    *,
    fields: Mapping[str, str],
    generate: Mapping[str, Recipe],
    cas: int | None = None,
    metadata: Mapping[str, object] | None = None,
) -> bytes:
    """The body that ``parse_writing`` reads."""
    recipes = {
        name: {"kind": one.kind, "length": one.length, "classes": list(one.classes), "readable": one.readable}
        for name, one in generate.items()
    }
    members: dict[str, object] = {"fields": dict(fields), "generate": recipes}
    members |= {} if cas is None else {"cas": cas}
    return _encode(members | ({} if not metadata else {"metadata": dict(metadata)}))


def parse_description(body: bytes) -> Described:
    """Read these members strictly.

    ``{"contact"?, "purpose"?, "type"?, "rotate_every"?: "90d", "expires"?: TIME, "versions_kept"?: N, "labels"?: {NAME: TEXT}}``.
    At least one of them; ``rotate_every`` and ``expires`` may be null. Raises like ``parse_writing``.
    """
    return _described_by(_members(body, _DETAILS, BODY_MAX))


def description(members: Mapping[str, object]) -> bytes:
    """The body that ``parse_description`` reads."""
    return _encode(members)


def parse_versions(body: bytes) -> tuple[int, ...] | None:
    """Read ``{"versions": [N, ...]}``, or nothing, strictly: None then. Raises like the others."""
    if not body.strip():
        return None
    members = _members(body, ("versions",))
    versions = members.get("versions", ())
    if not isinstance(versions, list) or isinstance(versions, _Members) or not 1 <= len(versions) <= _KEPT_MAX:
        raise ValueError(f'"versions" must be a list of 1 to {_KEPT_MAX} numbers.')
    return tuple(_number(version, "versions") for version in versions)


def versions(numbers: Iterable[int]) -> bytes:
    """The body that ``parse_versions`` reads."""
    return _encode({"versions": list(numbers)})


def parse_nothing(body: bytes) -> None:
    """Read nothing, or an empty object. Raises like the others."""
    if body.strip():
        _members(body, ())


def version_body(
    *, path: str, version: str, fields: Mapping[str, str], made: str | None, lease_ends: str | None
) -> bytes:
    """A secret: ``{"path", "version", "fields": {NAME: TEXT}, "made", "lease_ends"}``; times like ``Expiration`` or null."""
    return _encode({"path": path, "version": version, "fields": dict(fields), "made": made, "lease_ends": lease_ends})


def written_body(*, path: str, version: str) -> bytes:
    """What was written: ``{"path", "version"}``. What the broker made for it is read like any other."""
    return _encode({"path": path, "version": version})


def done_body(*, path: str, done: str) -> bytes:
    """What was done: ``{"path", "done"}``."""
    return _encode({"path": path, "done": done})


def metadata_body(members: Mapping[str, object]) -> bytes:
    """A secret without its values (``issuing.secrets.described``)."""
    return _encode(members)


def list_body(paths: Iterable[str]) -> bytes:
    """``{"secrets": [PATH, ...]}``."""
    return _encode({"secrets": list(paths)})


def due_body(due: Iterable[Mapping[str, object]]) -> bytes:
    """``{"due": [{"path", "since", "contact"}, ...]}``, the longest overdue first."""
    return _encode({"due": [dict(one) for one in due]})


def _recipe(value: object) -> Recipe:
    members = _object(value, "generate", ("kind", "length", "classes", "readable"))
    default = Recipe()
    kind, readable = members.get("kind", default.kind), members.get("readable", default.readable)
    classes = members.get("classes", list(default.classes))
    if kind not in KINDS:
        raise ValueError(f'The "kind" of what is made must be one of {", ".join(KINDS)}.')
    if not isinstance(classes, list) or isinstance(classes, _Members) or not all(one in CLASSES for one in classes):
        raise ValueError(f'"classes" must be a list of some of {", ".join(CLASSES)}.')
    if not isinstance(readable, bool):
        raise ValueError('"readable" must be true or false.')  # noqa: TRY004  one kind of error for one kind of fault
    length = _number(members.get("length", default.length), "length")
    return Recipe(kind=str(kind), length=length, classes=tuple(classes), readable=readable)


def _described(value: object) -> Described:
    return _described_by(_object(value, "metadata", _DETAILS))


def _described_by(members: Mapping[str, object]) -> Described:
    if not members:
        raise ValueError(f"Say at least one of {', '.join(_DETAILS)}.")
    every, kept = members.get("rotate_every"), members.get("versions_kept", 0)
    expires = members.get("expires")
    return Described(
        given=frozenset(members),
        contact=_line(members.get("contact", ""), "contact"),
        purpose=_line(members.get("purpose", ""), "purpose"),
        type=_line(members.get("type", ""), "type"),
        rotate_every=None if every is None else seconds_of(every, "rotate_every"),
        expires=None if expires is None else _line(expires, "expires"),
        versions_kept=_number(kept, "versions_kept"),
        labels=_labels(members.get("labels", _Members())),
    )


def _labels(value: object) -> dict[str, str]:
    found = _texts(value, "labels")
    if len(found) > LABELS_MAX or not all(map(_LABEL.fullmatch, found)):
        raise ValueError(f'"labels" must be at most {LABELS_MAX}, each named by 1 to 64 of A-Z a-z 0-9 _ . and -.')
    return {name: _line(text, "labels") for name, text in found.items()}


def _line(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX or not (value == "" or value.isprintable()):
        raise ValueError(f'"{name}" must be a line of at most {TEXT_MAX} printable characters.')
    return value


def _number(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value < 10**_VERSION_DIGITS:
        raise ValueError(f'"{name}" must be whole numbers, 0 or more.')
    return value


def _texts(value: object, name: str) -> dict[str, str]:
    found = _object(value, name)
    for text in found.values():
        if not isinstance(text, str) or not _is_unicode(text):
            raise ValueError(f'Each member of "{name}" must be a string; write bytes in base64.')
    return {key: str(text) for key, text in found.items()}


def _is_unicode(text: str) -> bool:
    """Lone surrogates are no text (RFC 8259, section 8.2), and no database stores them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(value: object, name: str, names: tuple[str, ...] | None = None) -> dict[str, object]:
    if not isinstance(value, _Members):
        raise ValueError(f'"{name}" must be an object.')  # noqa: TRY004  one kind of error for one kind of fault
    found = dict(value)
    if len(found) < len(value):
        raise ValueError(f'A member of "{name}" is given twice.')
    if names is not None and found.keys() - set(names):
        raise ValueError(f'Of "{name}" only {", ".join(names)} are understood.')
    return found
