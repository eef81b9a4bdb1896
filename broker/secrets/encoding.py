"""Rows as bytes before they are sealed: JSON with short members, a form number in each.

What is decoded here was opened before, so it is ours; a form that this program does not know is said, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from broker.core.secret import Secret
from broker.remote.failure import Malformed
from broker.secrets.metadata import Actor, Details, Metadata, Stamp, VersionInfo
from broker.secrets.provider import is_path
from broker.secrets.unfit import Unfit

_FORM = 1
# Bytes of all fields of a version as JSON: certificates with their chains fit, files do not.
VALUES_MAX = 64 << 10
FIELDS_MAX = 64
_FIELD = re.compile(r"[A-Za-z0-9_.@-]{1,128}")


def check_path(path: str) -> None:
    """Raises Unfit."""
    if not is_path(path):
        raise Unfit(
            "the path names no secret — fix: steps of A-Z a-z 0-9 _ . @ - joined by /, 256 characters at most",
            reason="unfit_path",
        )


def fields_as_bytes(fields: Mapping[str, Secret]) -> bytes:
    """Raises Unfit: too many, too long, or no text."""
    if not 1 <= len(fields) <= FIELDS_MAX:
        raise Unfit(f"a secret has 1 to {FIELDS_MAX} fields — fix: split it", reason="unfit_fields")
    if any(not _FIELD.fullmatch(name) for name in fields):
        raise Unfit(
            "the name of a field is none — fix: 1 to 128 of A-Z a-z 0-9 _ . @ -",
            reason="unfit_fields",
        )
    try:
        text = orjson.dumps({name: value.reveal() for name, value in fields.items()})
    except orjson.JSONEncodeError:  # half a character
        raise Unfit("a value is no Unicode text — fix: write bytes in base64", reason="unfit_value") from None
    if len(text) > VALUES_MAX:
        raise Unfit(f"the values take more than {VALUES_MAX} bytes — fix: split the secret", reason="too_large")
    return text


def fields_of(text: bytes) -> dict[str, Secret]:
    """What ``fields_as_bytes`` was given."""
    return {name: Secret(value) for name, value in orjson.loads(text).items()}


def metadata_as_bytes(of: Metadata) -> bytes:
    """Without ``used``, which lies apart."""
    details = of.details
    return orjson.dumps(
        {
            "form": _FORM,
            "path": of.path,
            "born": of.born,
            "revision": of.revision,
            "newest": of.newest,
            "versions": [
                [one.number, _stamp(one.made), _stamp(one.deleted), _stamp(one.destroyed)] for one in of.versions
            ],
            "details": {
                "contact": details.contact,
                "purpose": details.purpose,
                "kind": details.kind,
                "rotate_every": None if details.rotate_every is None else details.rotate_every.total_seconds(),
                "expires": None if details.expires is None else details.expires.isoformat(),
                "versions_kept": details.versions_kept,
                "labels": dict(details.labels),
            },
            **{name: _stamp(getattr(of, name)) for name in ("created", *_STAMPS)},
        }
    )


_STAMPS = ("rotated", "annotated", "deleted", "archived", "purged")


def metadata_of(text: bytes) -> Metadata:
    """What ``metadata_as_bytes`` was given.

    Raises:
        Malformed: Another version of the broker wrote it, in a form that this one does not know.
    """
    row = orjson.loads(text)
    if row.get("form") != _FORM:
        raise Malformed("the vault holds a row of a newer broker — fix: run that version", reason="unknown_form")
    details = row["details"]
    every, expires = details.pop("rotate_every"), details.pop("expires")
    return Metadata(
        path=row["path"],
        born=row["born"],
        revision=row["revision"],
        created=_sure(row["created"]),
        newest=row["newest"],
        versions=tuple(
            VersionInfo(number, _sure(made), _stamp_of(deleted), _stamp_of(destroyed))
            for number, made, deleted, destroyed in row["versions"]
        ),
        details=Details(
            rotate_every=None if every is None else timedelta(seconds=every),
            expires=None if expires is None else datetime.fromisoformat(expires),
            **details,
        ),
        **{name: _stamp_of(row[name]) for name in _STAMPS},
    )


def stamp_as_bytes(of: Stamp) -> bytes:
    """A note of a use."""
    return orjson.dumps(_stamp(of))


def stamp_of(text: bytes) -> Stamp:
    """What ``stamp_as_bytes`` was given."""
    return _sure(orjson.loads(text))


def _stamp(of: Stamp | None) -> list[str] | None:
    return None if of is None else [of.at.isoformat(), of.by.who, of.by.what]


def _stamp_of(row: list[str] | None) -> Stamp | None:
    return None if row is None else _sure(row)


def _sure(row: Any) -> Stamp:
    at, who, what = row
    return Stamp(datetime.fromisoformat(at), Actor(who, what))
