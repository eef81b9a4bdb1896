"""What each code in brackets means: what happened, what it can come from, what to do. Total over ``failures.TABLE``.

For ``zerotrust help CODE``, which asks nobody: whoever has no ticket, or no broker, can read it. The line that failed is made
from ``failures.TABLE`` alone; nothing here is loaded before somebody asks.
"""

from __future__ import annotations

from zerotrust_kerberos import failures
from zerotrust_kerberos.meanings.broker_side import MEANINGS as _SAID
from zerotrust_kerberos.meanings.here import MEANINGS as _FOUND
from zerotrust_kerberos.meanings.meaning import Meaning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# By code, in the order of ``failures.TABLE``: what is found out on the user's side, then what the broker says.
MEANINGS: Mapping[str, Meaning] = {**_FOUND, **_SAID}

# What scripts rely on: every exit status that ``failures.TABLE`` has, and what it stands for.
EXITS: Mapping[int, str] = {
    0: "done",
    failures.EXIT_OTHER: "other",
    failures.EXIT_USAGE: "usage or settings",
    failures.EXIT_TICKET: "no or expired ticket",
    failures.EXIT_DENIED: "denied",
    failures.EXIT_UNREACHABLE: "broker unreachable or TLS",
    failures.EXIT_AWS: "AWS refused",
    failures.EXIT_APPROVAL: "approval or step-up needed",
    failures.EXIT_THROTTLED: "throttled",
    failures.EXIT_SKEW: "clock skew",
    failures.EXIT_INTERRUPTED: "interrupted",
}
