"""The shapes of what people ask about themselves: paths, and the bodies of lists of sessions, job passes, uses and prospects.

Apart from ``wire``, whose every line the user's helper pays for at each start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.wire import SESSIONS_PATH, _encode, _reason

END_ALL_PATH = f"{SESSIONS_PATH}/end-all"
RECENTS_PATH = "/v1/recents"

Rows = Iterable[Mapping[str, object]]


def parse_container_query(pairs: Iterable[tuple[str, str]]) -> tuple[str | None, str | None]:
    """The scope and the reason behind a role in ``GET /v1/container/{role}?scope=NAME&reason=TEXT``, each None where not given.

    Raises:
        ValueError: Its text is a sentence for the client.
    """
    given = list(pairs)
    found = dict(given)
    if len(found) < len(given) or found.keys() - {"scope", "reason"}:
        raise ValueError("Behind the role there may be ?scope=NAME&reason=TEXT, each once, and nothing else.")
    return found.get("scope"), _reason(found["reason"], "reason") if "reason" in found else None


def sessions_body(sessions: Rows, *, is_complete: bool) -> bytes:
    """``{"sessions": [{"id", "kind", "made", "ends", "address", "current"}, ...], "complete"}``, the latest first.

    ``kind`` is ``browser`` or ``program``; ``address`` is where it was made, null where nobody knows; times like ``Expiration``.
    ``complete`` is false where there may be others that nobody can list now.
    """
    return _listed("sessions", sessions, is_complete=is_complete)


def passes_body(passes: Rows, *, is_complete: bool) -> bytes:
    """``{"passes": [{"id", "role", "networks", "made", "expires", "renewable_until", "address"}, ...], "complete"}``."""
    return _listed("passes", passes, is_complete=is_complete)


def recents_body(recents: Rows, *, is_complete: bool) -> bytes:
    """``{"recents": [{"role", "scope", "how", "at", "address", "via"}, ...], "complete"}``; scope and address may be null.

    ``how`` is ``credentials`` or ``console``; ``via`` as in the records: ticket, cookie, dpop or job_pass.
    """
    return _listed("recents", recents, is_complete=is_complete)


def prospects_body(prospects: Rows) -> bytes:
    """``{"roles": [{"role", ...}, ...]}``, each with the members of the answer about one role."""
    return _encode({"roles": [dict(prospect) for prospect in prospects]})


def prospect_body(members: Mapping[str, object]) -> bytes:
    """What stands between the caller and a role: ``{"verdict", "hint", "needs", "account"?, "role_arn"?, "step_up"?}``.

    ``verdict`` is allowed, step_up, approval or denied, and among many roles also unknown; account and role_arn are there where
    it is allowed. ``needs`` are words as in the list of roles. ``step_up``, where that is the verdict, is what a new ticket must
    be like: ``{"indicators": [one of these, if any], "max_ticket_age": SECONDS or null, "channel_binding": BOOL}``.
    """
    return _encode(members)


def _listed(name: str, rows: Rows, *, is_complete: bool) -> bytes:
    return _encode({name: [dict(row) for row in rows], "complete": is_complete})
