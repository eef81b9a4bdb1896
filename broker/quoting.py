"""A variable in the words of each shell: one table for what the page shows and what the user's command prints.

Every value is one word to the shell, whatever is in it: AWS's keys need no quotes, but whoever answers in AWS's place must not
get a command into somebody's terminal. What a shell has no way to write is refused. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote

# What no reader of dotenv files gives a meaning to, inside a word.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./@")
# cmd.exe replaces variables inside quotes too, and nothing escapes a quote there.
_NOT_IN_CMD = frozenset('"%!^&|<>\r\n')
# Single quotes mean the same to all who read such files, but what stands for one inside them does not.
_NOT_IN_DOTENV = frozenset("'\\\r\n")
# PowerShell takes the typographic ones for quotes too.
_POWERSHELL_QUOTES = frozenset("'\u2018\u2019\u201a\u201b")


class Unwritable(ValueError):
    """There is no way to write this value there."""


def _export(name: str, value: str) -> str:
    return f"export {name}={quote(value)}"


def _assign(name: str, value: str) -> str:
    return f"{name}={quote(value)}"


def _powershell(name: str, value: str) -> str:
    # about_Quoting_Rules: single-quoted strings are verbatim, a quote inside is written twice.
    return f"$Env:{name} = '{''.join(sign * 2 if sign in _POWERSHELL_QUOTES else sign for sign in value)}'"


def _cmd(name: str, value: str) -> str:
    return f'set "{name}={_without(_NOT_IN_CMD, value)}"'


def _fish(name: str, value: str) -> str:
    # In single quotes a backslash escapes itself and a quote, and nothing else.
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{escaped}'"


def _dotenv(name: str, value: str) -> str:
    # docker's --env-file takes quotes as part of the value, so there are none where they can be spared.
    return f"{name}={value}" if _PLAIN.issuperset(value) else f"{name}='{_without(_NOT_IN_DOTENV, value)}'"


def _without(signs: frozenset[str], value: str) -> str:
    if signs & set(value):
        raise Unwritable
    return value


# How each sets a variable, by the names that `aws configure export-credentials` gives them; raises ``Unwritable``.
LINES: dict[str, Callable[[str, str], str]] = {
    "env": _export,
    "env-no-export": _assign,
    "powershell": _powershell,
    "windows-cmd": _cmd,
    "fish": _fish,
    "dotenv": _dotenv,
}
