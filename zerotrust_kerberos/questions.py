"""``zerotrust whoami`` and ``zerotrust roles``: what the broker knows about the caller, as lines or as one line of JSON."""

from __future__ import annotations

import json

from broker import wire
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.failures import Failure, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.commands import Call


def whoami(call: Call) -> str:
    """``principal: alice@EXAMPLE.COM`` and so on, one member a line, in the broker's order."""
    members = object_of(ask(call.asking(), call.watch, method="GET", path=wire.WHOAMI_PATH))
    if "json" in call.switches:
        return json.dumps(members)
    if not isinstance(members.get("principal"), str):
        raise Failure("unexpected_answer", "principal is missing")
    lines = [f"{clean(name)}: {clean(value)}" for name, value in members.items() if isinstance(value, str)]
    return "\n".join([*lines, *_accounts(members.get("accounts"))])


def _accounts(accounts: object) -> list[str]:
    """``account: 111122223333 (prod)``."""
    lines = []
    for entry in accounts if isinstance(accounts, list) else []:
        number, alias = (entry.get("account"), entry.get("account_alias")) if isinstance(entry, dict) else (None, None)
        if isinstance(number, str):
            lines.append(f"account: {clean(number)}" + (f" ({clean(alias)})" if isinstance(alias, str) else ""))
    return lines


def roles(call: Call) -> str:
    """The names of the roles, one a line."""
    members = object_of(ask(call.asking(), call.watch, method="GET", path=wire.ROLES_PATH))
    if "json" in call.switches:
        return json.dumps(members)
    found = members.get("roles")
    if not isinstance(found, list):
        raise Failure("unexpected_answer", "roles is missing")
    return "\n".join(clean(_name(role)) + _needs(role) for role in found)


def _needs(role: object) -> str:
    """What has to be added to a ticket, behind a tab: whoever cuts the first column has the names."""
    needs = role.get("needs") if isinstance(role, dict) else None
    words = [clean(need) for need in needs if isinstance(need, str)] if isinstance(needs, list) else []
    return f"\tneeds {', '.join(words)}" if words else ""


def _name(role: object) -> str:
    name = role.get("name") if isinstance(role, dict) else None
    if not isinstance(name, str):
        raise Failure("unexpected_answer", "a role without a name")
    return name


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
