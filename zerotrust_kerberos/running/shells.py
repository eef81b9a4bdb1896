"""Variables in the words of each shell: lines that set them, and lines that take them away.

Every value is one word to the shell, whatever is in it; what a shell has no way to write is refused. Values are printable ASCII
(``credential_process``), and those of AWS need no quotes at all.
"""

from __future__ import annotations

import json

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# What no shell and no reader of dotenv files gives a meaning to, inside a word.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./@")
# cmd.exe replaces variables inside quotes too, and nothing escapes a quote there.
_NOT_IN_CMD = frozenset('"%!^&|<>')
# Single quotes mean the same to all who read such files, but what stands for one inside them does not.
_NOT_IN_DOTENV = frozenset("'\\")


def _sh(value: str) -> str:
    """A word of POSIX shells (2.2.2): nothing is special in single quotes but their end."""
    return value if value and _PLAIN.issuperset(value) else "'" + value.replace("'", "'\\''") + "'"


def _fish(value: str) -> str:
    """fish: a backslash escapes itself and a quote in single quotes."""
    return value if value and _PLAIN.issuperset(value) else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell(value: str) -> str:
    """about_Quoting_Rules: single-quoted strings are verbatim, a quote inside is written twice."""
    return "'" + value.replace("'", "''") + "'"


def _cmd(value: str) -> str:
    return _without(_NOT_IN_CMD, value, "cmd.exe")


def _dotenv(value: str) -> str:
    # docker's --env-file takes quotes as part of the value, so there are none where they can be spared.
    return value if value and _PLAIN.issuperset(value) else f"'{_without(_NOT_IN_DOTENV, value, 'a dotenv file')}'"


def _without(signs: frozenset[str], value: str, where: str) -> str:
    if signs & set(value):
        raise Failure("unexpected_answer", f"a value that {where} has no way to hold")
    return value


# How each sets a variable.
_SET: dict[str, Callable[[str, str], str]] = {
    "env": lambda name, value: f"export {name}={_sh(value)}",
    "env-no-export": lambda name, value: f"{name}={_sh(value)}",
    "powershell": lambda name, value: f"$Env:{name} = {_powershell(value)}",
    "windows-cmd": lambda name, value: f'set "{name}={_cmd(value)}"',
    "fish": lambda name, value: f"set -gx {name} {_fish(value)}",
    "dotenv": lambda name, value: f"{name}={_dotenv(value)}",
}

# How those that are a shell's take some away; it is no error there where one is missing.
_UNSET: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "env": lambda names: [f"unset {' '.join(names)}"],
    "env-no-export": lambda names: [f"unset {' '.join(names)}"],
    "powershell": lambda names: [f"Remove-Item {', '.join(f'Env:{n}' for n in names)} -ErrorAction SilentlyContinue"],
    "windows-cmd": lambda names: [f'set "{name}="' for name in names],
    "fish": lambda names: [f"set -e {name}" for name in names],
}

FORMATS = ("process", *_SET, "json")


def setting(form: str, variables: Mapping[str, str], *, conflicting: Sequence[str] = ()) -> str:
    """Lines for one of the shells that set variables, after having taken ``conflicting`` away where a line can.

    Raises:
        Failure: ``unexpected_answer`` for a value that cannot be written there.
    """
    if form == "json":
        return json.dumps(dict(variables))
    before = unsetting(form, conflicting).split("\n") if conflicting and form in _UNSET else []
    return "\n".join([*before, *(_SET[form](name, value) for name, value in variables.items())])


def unsetting(form: str, names: Sequence[str]) -> str:
    """Lines for one of the shells that take variables away.

    Raises:
        Failure: ``usage`` for a format that is no shell's.
    """
    if form not in _UNSET:
        raise Failure("usage", f"--unset is for --format {', '.join(_UNSET)}", fix="zerotrust env --unset")
    return "\n".join(_UNSET[form](names))
