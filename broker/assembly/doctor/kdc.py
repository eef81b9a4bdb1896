"""What a KDC says of itself, asked as the user's side asks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.core.clock import Clock
from broker.core.visible import visible
from zerotrust_kerberos.doctor.kdc import told
from zerotrust_kerberos.doctor.krb5 import Krb5
from zerotrust_kerberos.failures import Failure

# Nobody's, so that no login of anybody fails.
_NOBODY = "zerotrust-doctor"


@dataclass(frozen=True, slots=True)
class Told:
    """Which addresses were asked, in order; its clock less ours in seconds, where it said it; why there is no answer."""

    asked: Sequence[str] = ()
    ahead: float | None = None
    error: str = ""


def ask(realm: str, *, clock: Clock) -> Told:
    """Ask for a first ticket for nobody, which every KDC refuses and says its time with. May take half a minute."""
    try:
        with Krb5() as krb5:
            found = told(krb5, f"{_NOBODY}@{realm}", now=lambda: clock.now().timestamp())
    except Failure as failure:
        return Told(error=visible(failure.detail))
    return Told(asked=found.asked, ahead=found.ahead)
