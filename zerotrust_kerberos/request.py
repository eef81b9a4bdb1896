"""``zerotrust request``: ask others to open a time box for a role."""

from __future__ import annotations

import json
import sys

from broker import wire
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.failures import Failure, clean
from zerotrust_kerberos.questions import object_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from zerotrust_kerberos.commands import Call


def command(call: Call) -> str:
    """``ID pending: 0 of 2 approvals, until 2026-01-31T12:34:56Z``.

    Raises:
        Failure: Nobody was asked.
    """
    settings = call.settings()
    if settings.role is None or settings.reason is None:
        raise Failure("usage", "request needs --role and --reason")
    members: dict[str, object] = {"role": settings.role, "reason": settings.reason}
    members |= {} if settings.scope is None else {"scope": settings.scope}
    members |= {"duration": call.options["duration"]} if "duration" in call.options else {}
    answer = ask(call.asking(), call.watch, method="POST", path=wire.REQUESTS_PATH, body=json.dumps(members).encode())
    found = object_of(answer)
    if "json" in call.switches:
        return json.dumps(found)
    needed, approvals = found.get("needed"), found.get("approvals")
    if not isinstance(needed, int) or not isinstance(approvals, list):
        raise Failure("unexpected_answer", "needed or approvals is missing")
    identifier, state, expires = (clean(_text(found, name)) for name in ("id", "state", "expires"))
    # Nobody else tells them: which of the approvers is awake is for the one who asks to know.
    sys.stderr.write(f"now an approver has to run: zerotrust-admin approve {identifier}\n")
    return f"{identifier} {state}: {len(approvals)} of {needed} approvals, until {expires}"


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise Failure("unexpected_answer", f"{name} is missing")
    return value
