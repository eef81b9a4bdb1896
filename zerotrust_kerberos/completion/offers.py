"""What may stand at the end of a command line that is being typed; by the table of commands and their pages."""

from __future__ import annotations

from zerotrust_kerberos import manual
from zerotrust_kerberos.commands import COMMANDS, MANY, SWITCH
from zerotrust_kerberos.completion import names
from zerotrust_kerberos.meanings import MEANINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zerotrust_kerberos.commands import Command

    Offers = list[tuple[str, str]]

FILES, FOLDERS, PROGRAM = ":files", ":folders", ":program"
_PATHS = {"FILE": FILES, "DIR": FOLDERS}
# From the place of -- among a command's words, which counts from 0, to that of the word behind it in the line, from 1.
_BEFORE_PROGRAM = 4


def candidates(typed: Sequence[str]) -> Offers | str:
    """What may stand in the place of the last word of ``typed``, which is its beginning; or what the shell knows better."""
    *before, current = typed or [""]
    if not before:
        return _beginning(current, ((name, manual.of(name).summary) for name in COMMANDS))
    name, *words = before
    if name not in COMMANDS:
        return []
    if "--" in words:
        is_program = COMMANDS[name].program is not False and manual.of(name).behind == "COMMAND"
        return f"{PROGRAM} {words.index('--') + _BEFORE_PROGRAM}" if is_program else []
    return _of_command(name, words, current)


def _of_command(name: str, words: Sequence[str], current: str) -> Offers | str:
    command, options = COMMANDS[name], manual.options(name)
    used, alone, waiting = _read(command, words)
    role = used.get("--role") or (alone[0] if alone and command.words[:1] in {("role",), ("[role]",)} else "")
    if waiting:
        return _values(options[waiting][0], current, role=role)
    option, equals, value = current.partition("=")
    if equals and option in options:
        found = _values(options[option][0], value, role=role)
        return found if isinstance(found, str) else [(f"{option}={text}", what) for text, what in found]
    if current.startswith("-"):
        free = {one: text for one, (_, text) in options.items() if one not in used or command.options[one] == MANY}
        behind = [_behind(name)] if command.program is not False else []
        return _beginning(current, [*free.items(), *behind])
    return _words(name, alone, current)


def _read(command: Command, words: Sequence[str]) -> tuple[dict[str, str], list[str], str]:
    """The options there are already, the words that stand alone, and the option that waits for its value, if any."""
    used: dict[str, str] = {}
    alone: list[str] = []
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option not in command.options:
            alone += [] if word.startswith("-") else [word]
        elif equals or command.options[option] == SWITCH:
            used[option] = value
        elif (given := next(rest, None)) is None:
            return used, alone, option
        else:
            used[option] = given
    return used, alone, ""


def _words(name: str, alone: Sequence[str], current: str) -> Offers | str:
    expected = COMMANDS[name].words
    at = len(alone)
    if expected and expected[-1].rstrip("]").endswith("..."):
        at = min(at, len(expected) - 1)
    if at < len(expected):
        word = expected[at].strip("[].")
        return _values(word if "|" in word else word.upper(), current, role="")
    # Nothing but options is left.
    if COMMANDS[name].program is not False:
        return _beginning(current, [_behind(name)])
    return _of_command(name, alone, "-") if not current else []


def _behind(name: str) -> tuple[str, str]:
    return "--", f"behind it: {manual.of(name).behind}"


def _values(wants: str, current: str, *, role: str) -> Offers | str:
    """By what stands behind an option on its page, or by the name of a word in capitals."""
    if wants in _PATHS:
        return _PATHS[wants]
    found: Iterable[tuple[str, str]] = ()
    if "|" in wants:
        found = ((choice, "") for choice in wants.split("|"))
    elif wants == "ROLE":
        found = ((name, "role") for name in names.roles())
    elif wants == "SCOPE":
        found = ((name, "scope") for name in names.scopes(role))
    elif wants == "WHAT":
        codes = ((code, meaning.happened.partition(". ")[0]) for code, meaning in MEANINGS.items())
        found = (*((name, manual.of(name).summary) for name in COMMANDS), *codes)
    return _beginning(current, found)


def _beginning(current: str, offers: Iterable[tuple[str, str]]) -> Offers:
    return [(text, what) for text, what in offers if text.startswith(current)]
