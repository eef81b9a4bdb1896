"""What is known of a secret beside its values: as JSON, and changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, cast

from broker.core.clock import rfc3339
from broker.core.errors import BadRequest
from broker.secrets.generate import Kind, Policy
from broker.secrets.metadata import Details, Due, Metadata, Stamp, VersionInfo
from broker.wire_secrets import Described, Recipe


def with_changes(new: Described) -> Callable[[Details], Details]:
    """What the members that were given change.

    Raises:
        BadRequest: The expiry date is none.
    """
    changes: dict[str, Any] = {
        name: getattr(new, name) for name in ("contact", "purpose", "versions_kept", "labels") if name in new.given
    }
    if "type" in new.given:
        changes["kind"] = new.type
    if "rotate_every" in new.given:
        changes["rotate_every"] = None if new.rotate_every is None else timedelta(seconds=new.rotate_every)
    if "expires" in new.given:
        changes["expires"] = None if new.expires is None else _moment(new.expires)
    return lambda details: Details(
        **{one.name: changes.get(one.name, getattr(details, one.name)) for one in fields(Details)}
    )


def policy_of(recipe: Recipe) -> Policy:
    """As the vault knows it."""
    return Policy(
        kind=cast("Kind", recipe.kind), length=recipe.length, classes=recipe.classes, readable=recipe.readable
    )


def described(metadata: Metadata) -> dict[str, Any]:
    """All of it. Times like ``Expiration`` or null; who did something is ``{"at", "by", "with"}`` or null."""
    details = metadata.details
    return {
        "path": metadata.path,
        "newest": metadata.newest,
        "versions": [_version(one) for one in metadata.versions],
        "contact": details.contact,
        "purpose": details.purpose,
        "type": details.kind,
        "labels": dict(details.labels),
        "versions_kept": details.versions_kept,
        "rotate_every": None if details.rotate_every is None else int(details.rotate_every.total_seconds()),
        "rotation_due": _time(metadata.rotation_due),
        "expires": _time(details.expires),
        **{
            name: _stamp(getattr(metadata, name))
            for name in ("created", "rotated", "annotated", "deleted", "archived", "used")
        },
    }


def due_members(due: Due) -> dict[str, Any]:
    """``{"path", "since", "contact"}``."""
    return {"path": due.path, "since": rfc3339(due.since), "contact": due.contact}


def _version(one: VersionInfo) -> dict[str, Any]:
    return {
        "version": one.number,
        "made": _stamp(one.made),
        "deleted": _stamp(one.deleted),
        "destroyed": _stamp(one.destroyed),
    }


def _stamp(stamp: Stamp | None) -> dict[str, str] | None:
    return None if stamp is None else {"at": rfc3339(stamp.at), "by": stamp.by.who, "with": stamp.by.what}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadRequest(reason="secret_unfit_metadata", hint='write "expires" as 2026-01-31T12:00:00Z')
    return found
