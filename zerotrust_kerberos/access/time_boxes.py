"""``zerotrust request``, ``requests``, ``approve`` and ``deny``: a time box for a role, asked for and decided on.

Whoever a rule names as an approver is a user like any other, so this is all they need.
"""

from __future__ import annotations

import json

from broker import wire
from zerotrust_kerberos import output, tables, times
from zerotrust_kerberos.answers import object_of, objects, text_of
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from zerotrust_kerberos.commands import Call

# 128 bits in hex.
_ID_LENGTH = 32

_COLUMNS = ("id", "state", "user", "role", "until", "approvals", "you", "reason")


def request(call: Call) -> str:
    """``ID pending: 0 of 2 approvals, until 2026-01-31T12:34:56Z``.

    Raises:
        Failure: Nobody was asked.
    """
    settings, kind = call.settings(), tables.form(call)
    if settings.role is None or settings.reason is None:
        raise Failure("usage", "request needs --role and --reason", fix="zerotrust help request")
    members: dict[str, object] = {"role": settings.role, "reason": settings.reason}
    members |= {} if settings.scope is None else {"scope": settings.scope}
    members |= {"duration": call.options["duration"]} if "duration" in call.options else {}
    members |= {"break_glass": True} if "break-glass" in call.switches else {}
    found = _ask(call, "POST", wire.REQUESTS_PATH, members)
    if kind != tables.JSON:
        _say_next(found)
    return _told(kind, found)


def _say_next(found: Mapping[str, object]) -> None:
    """Nobody else tells them: which of the approvers is awake is for the one who asks to know."""
    if found.get("break_glass") is True:
        output.say(f"now it is open: zerotrust credential-process --role {tables.printable(text_of(found, 'role'))}\n")
    else:
        output.say(f"now an approver has to run: zerotrust approve {tables.printable(text_of(found, 'id'))}\n")


def requests(call: Call) -> str:
    """One's own, and those that one may approve, the latest first."""
    kind = tables.form(call)
    found = _ask(call, "GET", wire.REQUESTS_PATH)
    if not isinstance(found.get("requests"), list):
        raise Failure("unexpected_answer", "requests is missing")
    rows = [_row(entry, is_for_people=kind == tables.TABLE) for entry in objects(found, "requests")]
    return tables.shown(kind, answer=found, columns=_COLUMNS, rows=rows)


def approve(call: Call) -> str:
    """Approve somebody else's. Raises like ``request``."""
    kind = tables.form(call)
    return _told(kind, _ask(call, "POST", f"{wire.REQUESTS_PATH}/{_id(call)}/approve"))


def deny(call: Call) -> str:
    """End one's own, or one that one may approve, before or after it was opened. Raises like ``request``."""
    kind = tables.form(call)
    members = {"reason": call.options["reason"]} if "reason" in call.options else {}
    return _told(kind, _ask(call, "POST", f"{wire.REQUESTS_PATH}/{_id(call)}/deny", members))


def _ask(call: Call, method: str, path: str, members: Mapping[str, object] | None = None) -> dict[str, object]:
    body = json.dumps(members).encode() if members else b""
    return object_of(ask(call.asking(), call.watch, method=method, path=path, body=body))


def _id(call: Call) -> str:
    word = call.words[0]
    if len(word) != _ID_LENGTH or not word.isalnum() or not word.isascii():
        raise Failure("usage", "an id is 32 letters and digits", fix="zerotrust requests")
    return word


def _told(kind: str, found: Mapping[str, object]) -> str:
    """One request, in a sentence; or as a row, where a program reads it."""
    identifier, state = text_of(found, "id"), text_of(found, "state")
    if not identifier or not state:
        raise Failure("unexpected_answer", "id or state is missing")
    if kind in {tables.JSON, tables.CSV}:
        return tables.shown(kind, answer=found, columns=_COLUMNS, rows=[_row(found, is_for_people=False)])
    said = "the glass is broken" if found.get("break_glass") is True else f"{_given(found)} approvals"
    until = f", until {_until(found)}" if state in {"pending", "open"} else ""
    return tables.printable(f"{identifier} {state}: {said}{until}")


def _row(found: Mapping[str, object], *, is_for_people: bool) -> list[str]:
    role, scope, until = text_of(found, "role"), text_of(found, "scope"), _until(found)
    is_live = text_of(found, "state") in {"pending", "open"}
    return [
        text_of(found, "id"),
        text_of(found, "state"),
        text_of(found, "user"),
        f"{role}/{scope}" if scope else role,
        f"{until} ({times.left(until)})" if is_for_people and is_live else until,
        "glass" if found.get("break_glass") is True else _given(found),
        "mine" if found.get("mine") is True else "decide" if found.get("may_decide") is True else "",
        text_of(found, "reason"),
    ]


def _until(found: Mapping[str, object]) -> str:
    """When the box ends, or, while it waits, when the request does."""
    return text_of(found, "ends") or text_of(found, "expires")


def _given(found: Mapping[str, object]) -> str:
    """``1 of 2``."""
    needed, approvals = found.get("needed"), found.get("approvals")
    if not isinstance(needed, int) or not isinstance(approvals, list):
        raise Failure("unexpected_answer", "needed or approvals is missing")
    return f"{len(approvals)} of {needed}"
