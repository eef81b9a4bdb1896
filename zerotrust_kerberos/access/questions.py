"""``zerotrust whoami``, ``roles`` and ``explain``: what the broker knows about the caller."""

from __future__ import annotations

import os

from broker import wire
from zerotrust_kerberos import tables, times
from zerotrust_kerberos.answers import object_of, objects, text_of
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.failures import EXIT_APPROVAL, EXIT_DENIED, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from zerotrust_kerberos.commands import Call

# What ``env`` and ``exec --env`` set, and the AWS CLI's ``export-credentials`` too.
_KEYS_END = "AWS_CREDENTIAL_EXPIRATION"
_ENDS = {"ticket_ends", "keys_end"}
_ROLE = ("role", "account", "alias", "stage", "scopes", "needs", "arn")
# The exit status of ``explain``: that of asking for the role itself.
_VERDICTS = {"allowed": 0, "step_up": EXIT_APPROVAL, "approval": EXIT_APPROVAL, "denied": EXIT_DENIED}


def whoami(call: Call) -> str:
    """Who the caller is, until when, which accounts they may reach; and when keys end that are in the environment."""
    kind = tables.form(call)
    answer = object_of(ask(call.asking(), call.watch, method="GET", path=wire.WHOAMI_PATH))
    if not isinstance(answer.get("principal"), str):
        raise Failure("unexpected_answer", "principal is missing")
    pairs = [(name, value) for name, value in answer.items() if isinstance(value, str)]
    pairs += [("account", _account(entry)) for entry in objects(answer, "accounts")]
    keys = os.environ.get(_KEYS_END, "")
    left = {"ticket": times.seconds_left(text_of(answer, "ticket_ends")), "keys": times.seconds_left(keys)}
    if left["keys"] is not None:
        pairs.append(("keys_end", keys))
    if kind == tables.TABLE:
        pairs = [
            (name.replace("_", " "), f"{value} ({times.left(value)})" if name in _ENDS else value)
            for name, value in pairs
        ]
    else:
        pairs += [
            (f"{name}_seconds_left", str(max(0, seconds))) for name, seconds in left.items() if seconds is not None
        ]
    return tables.told(kind, answer=answer, pairs=pairs)


def _account(entry: Mapping[str, object]) -> str:
    """``111122223333 (prod, production)``."""
    words = [text_of(entry, "account_alias"), "production" if entry.get("production") is True else ""]
    said = ", ".join(filter(None, words))
    return text_of(entry, "account") + (f" ({said})" if said else "")


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
    """What stands between the caller and a role, with its exit status that of asking for the role; or all of them, in a table."""
    kind = tables.form(call)
    if not call.words:
        return _explain_all(call, kind)
    role = call.words[0]
    settings = call.asking(role=role)
    answer = object_of(ask(settings, call.watch, method="GET", path=f"{wire.EXPLAIN_PATH}/{settings.role}"))
    verdict, hint = text_of(answer, "verdict"), text_of(answer, "hint")
    if verdict not in _VERDICTS:
        raise Failure("unexpected_answer", "verdict is missing")
    call.status = _VERDICTS[verdict]
    pairs = [
        ("role", role),
        ("verdict", verdict),
        ("hint", hint),
        ("needs", _words(answer, "needs")),
        *_step_up(answer),
    ]
    pairs += [(name, text_of(answer, name)) for name in ("account", "role_arn")]
    pairs.append(("run", _next(role, verdict, answer)))
    return tables.told(kind, answer=answer, pairs=[(name, value) for name, value in pairs if value])


def _explain_all(call: Call, kind: str) -> str:
    answer = object_of(ask(call.asking(), call.watch, method="GET", path=wire.EXPLAIN_PATH))
    if not isinstance(answer.get("roles"), list):
        raise Failure("unexpected_answer", "roles is missing")
    rows = [
        [text_of(role, "role"), text_of(role, "verdict"), _words(role, "needs"), text_of(role, "hint")]
        for role in objects(answer, "roles")
    ]
    return tables.shown(kind, answer=answer, columns=("role", "verdict", "needs", "hint"), rows=rows)


def _step_up(answer: Mapping[str, object]) -> list[tuple[str, str]]:
    """What a new ticket must be like, where the broker says so."""
    found = answer.get("step_up")
    if not isinstance(found, dict):
        return []
    age = found.get("max_ticket_age")
    bound = "yes" if found.get("channel_binding") is True else ""
    seconds = str(age) if type(age) is int else ""
    return [("indicators", _words(found, "indicators")), ("max_ticket_age", seconds), ("channel_binding", bound)]


def _next(role: str, verdict: str, answer: Mapping[str, object]) -> str:
    """What to type then."""
    if verdict == "step_up":
        return f"zerotrust login --step-up {role}"
    if verdict == "denied":
        return "zerotrust roles"
    needs = answer.get("needs")
    if verdict == "approval" and isinstance(needs, list) and "approval" in needs:
        return f"zerotrust request --role {role} --reason TEXT"
    reason = " --reason TEXT" if verdict == "approval" else ""
    return f"zerotrust credential-process --role {role}{reason}"


def _words(members: Mapping[str, object], name: str) -> str:
    found = members.get(name)
    return ",".join(word for word in found if isinstance(word, str)) if isinstance(found, list) else ""
