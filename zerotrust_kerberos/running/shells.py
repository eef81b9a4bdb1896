"""Variables in the words of each shell: lines that set them (``broker.quoting``), and lines that take them away."""

from __future__ import annotations

import json

from broker.quoting import LINES, Unwritable
from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# How those that are a shell's take some away; it is no error there where one is missing.
_UNSET: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "env": lambda names: [f"unset {' '.join(names)}"],
    "env-no-export": lambda names: [f"unset {' '.join(names)}"],
    "powershell": lambda names: [f"Remove-Item {', '.join(f'Env:{n}' for n in names)} -ErrorAction SilentlyContinue"],
    "windows-cmd": lambda names: [f'set "{name}="' for name in names],
    "fish": lambda names: [f"set -e {name}" for name in names],
}

FORMATS = ("process", *LINES, "json")


def setting(form: str, variables: Mapping[str, str], *, conflicting: Sequence[str] = ()) -> str:
    """Lines for one of the shells that set variables, after having taken ``conflicting`` away where a line can.

    Raises:
        Failure: ``unexpected_answer`` for a value that cannot be written there.
    """
    if form == "json":
        return json.dumps(dict(variables))
    before = unsetting(form, conflicting).split("\n") if conflicting and form in _UNSET else []
    try:
        return "\n".join([*before, *(LINES[form](name, value) for name, value in variables.items())])
    except Unwritable as error:
        raise Failure("unexpected_answer", f"a value that {form} has no way to write") from error


def unsetting(form: str, names: Sequence[str]) -> str:
    """Lines for one of the shells that take variables away.

    Raises:
        Failure: ``usage`` for a format that is no shell's.
    """
    if form not in _UNSET:
        raise Failure("usage", f"--unset is for --format {', '.join(_UNSET)}", fix="zerotrust env --unset")
    return "\n".join(_UNSET[form](names))
