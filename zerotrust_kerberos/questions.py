"""``zerotrust whoami``, ``roles`` and ``explain``: what the broker knows about the caller."""

from __future__ import annotations

import json

from broker import wire
from zerotrust_kerberos import tables
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.failures import EXIT_APPROVAL, EXIT_DENIED, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from zerotrust_kerberos.commands import Call

_ROLE = ("role", "account", "alias", "stage", "scopes", "needs", "arn")
# The exit status of ``explain``: that of asking for the role itself.
_VERDICTS = {"allowed": 0, "step_up": EXIT_APPROVAL, "approval": EXIT_APPROVAL, "denied": EXIT_DENIED}


def whoami(call: Call) -> str:
    """Who the caller is, until when, and which accounts they may reach."""
    kind = tables.form(call)
    answer = object_of(ask(call.asking(), call.watch, method="GET", path=wire.WHOAMI_PATH))
    if not isinstance(answer.get("principal"), str):
        raise Failure("unexpected_answer", "principal is missing")
    pairs = [(name, value) for name, value in answer.items() if isinstance(value, str)]
    pairs += [("account", _account(entry)) for entry in objects(answer, "accounts")]
    ends = text_of(answer, "ticket_ends")
    seconds = tables.seconds_left(ends)
    if kind == tables.TABLE:
        pairs = [
            (name.replace("_", " "), f"{value} ({tables.left(value)})" if value == ends else value)
            for name, value in pairs
        ]
    elif seconds is not None:
        pairs.append(("ticket_seconds_left", str(max(0, seconds))))
    return tables.told(kind, answer=answer, pairs=pairs)


def _account(entry: Mapping[str, object]) -> str:
    """``111122223333 (prod)``."""
    alias = text_of(entry, "account_alias")
    return text_of(entry, "account") + (f" ({alias})" if alias else "")


def roles(call: Call) -> str:
    """The roles that the caller may have, in the broker's order."""
    kind = tables.form(call)
    answer = object_of(ask(call.asking(), call.watch, method="GET", path=wire.ROLES_PATH))
    if not isinstance(answer.get("roles"), list):
        raise Failure("unexpected_answer", "roles is missing")
    rows = [_role(role) for role in objects(answer, "roles")]
    # An ARN tells people nothing that is not said before it, and would wrap every line.
    width = -1 if kind == tables.TABLE else None
    return tables.shown(kind, answer=answer, columns=_ROLE[:width], rows=[row[:width] for row in rows])


def _role(role: Mapping[str, object]) -> list[str]:
    name = text_of(role, "name")
    if not name:
        raise Failure("unexpected_answer", "a role without a name")
    stage = "production" if role.get("production") is True else ""
    account, alias, arn = (text_of(role, member) for member in ("account", "account_alias", "role_arn"))
    return [name, account, alias, stage, _words(role, "scopes"), _words(role, "needs"), arn]


def explain(call: Call) -> str:
    """What stands between the caller and a role; the exit status is that of asking for the role."""
    kind, role = tables.form(call), call.words[0]
    settings = call.asking(role=role)
    answer = object_of(ask(settings, call.watch, method="GET", path=f"{wire.EXPLAIN_PATH}/{settings.role}"))
    verdict = text_of(answer, "verdict")
    if verdict not in _VERDICTS:
        raise Failure("unexpected_answer", "verdict is missing")
    call.status = _VERDICTS[verdict]
    pairs = [("role", role)]
    pairs += [(name, value) for name, value in answer.items() if isinstance(value, str)]
    return tables.told(kind, answer=answer, pairs=pairs)


def text_of(members: Mapping[str, object], name: str) -> str:
    """A member that is a string; empty where it is none."""
    value = members.get(name)
    return value if isinstance(value, str) else ""


def objects(members: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """The objects of a member that is a list of them."""
    found = members.get(name)
    return [entry if isinstance(entry, dict) else {} for entry in found] if isinstance(found, list) else []


def _words(members: Mapping[str, object], name: str) -> str:
    found = members.get(name)
    return ",".join(word for word in found if isinstance(word, str)) if isinstance(found, list) else ""


def object_of(body: bytes) -> dict[str, object]:
    """The JSON object that an answer is.

    Raises:
        Failure: It is none.
    """
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise Failure("unexpected_answer", "the body is not JSON") from error
    if not isinstance(found, dict):
        raise Failure("unexpected_answer", "the body is not a JSON object")
    return found
