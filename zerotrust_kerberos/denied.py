"""A denied role that was mistyped. The broker does not say whether a role exists; the names that TAB offers may."""

from __future__ import annotations

import shlex

from zerotrust_kerberos.completion import names
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.slips import meant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.failures import Place


def with_role_meant(failure: Failure, place: Place) -> Failure:
    """A denial of a role, with the line for the role that was meant, if names that are known without asking have one like it."""
    known = names.remembered()
    found = None if place.role in known else meant(place.role, known)
    if found is None:
        return failure
    words = [
        word.removesuffix(place.role) + found if word in {place.role, f"--role={place.role}"} else word
        for word in place.words
    ]
    what = "; ".join(filter(None, [failure.detail, f"did you mean {found}?"]))
    return Failure(failure.code, what, fix=shlex.join([place.program, *words]))
