"""``zerotrust help`` and ``zerotrust version``: what can be said without asking anybody."""

from __future__ import annotations

import textwrap

from zerotrust_kerberos import __version__, manual
from zerotrust_kerberos.commands import COMMANDS, MANY, shown
from zerotrust_kerberos.failures import TABLE, Failure
from zerotrust_kerberos.manual.page import SECTIONS
from zerotrust_kerberos.meanings import EXITS, MEANINGS
from zerotrust_kerberos.slips import meant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from zerotrust_kerberos.commands import Call

# Columns. What a terminal has at least; help is not fitted to wider ones, so that it reads the same in a pipe.
_WIDTH = 100
# Columns of what is explained; what is longer has a line of its own.
_LEFT = 24
_HELD = "\N{NO-BREAK SPACE}"

VARIABLES = {
    **{f"ZEROTRUST_{key.upper()}": text for key, text in manual.SETTINGS.items()},
    "ZEROTRUST_REASON": "why a role is wanted, where its rule asks for that; in no file, because a reason is somebody's, now",
    "KRB5CCNAME": "where the ticket is, as for every program of Kerberos",
    "NO_COLOR": "if it is not empty, nothing is coloured",
}

_VARIABLES = ", ".join(list(VARIABLES)[: len(manual.SETTINGS)])
SETTINGS = f"""\
Settings come from options, then from {_VARIABLES} and (in no file) ZEROTRUST_REASON, then from \
$XDG_CONFIG_HOME/zerotrust/config.toml, then from /etc/zerotrust/client.toml. zerotrust(1) explains them."""

EXIT_STATUS = ", ".join(f"{status} {what}" for status, what in EXITS.items())


def version(_call: Call) -> str:
    """``zerotrust 0.1.0``."""
    return f"zerotrust {__version__}"


def command(call: Call) -> str:
    """The list of commands, one of them, or what a code means.

    Raises:
        Failure: There is nothing of that name.
    """
    if not call.words:
        return everything()
    name = call.words[0]
    if name in COMMANDS:
        return of_command(name)
    code = name.strip("[]").lower()
    if code in TABLE:
        return of_code(code)
    closest = meant(code, [*COMMANDS, *TABLE])
    what = f"no command and no code {name}" + (f": did you mean {closest}?" if closest else "")
    raise Failure("usage", what, fix=f"zerotrust help {closest}" if closest else "zerotrust help")


def everything() -> str:
    """All commands, a line each, and what they have in common."""
    lines = ["usage: zerotrust COMMAND [OPTIONS]", "       zerotrust help COMMAND, or help CODE"]
    pages = {name: manual.of(name) for name in COMMANDS}
    for section in SECTIONS:
        found = {name: page.summary for name, page in pages.items() if page.section == section}
        if found:
            lines += ["", f"{section}:", *_explained(found.items())]
    lines += ["", "Options that several commands take:"]
    lines += _explained((f"{option} {wants}", text) for option, (wants, text) in manual.SHARED_OPTIONS.items())
    return "\n".join([*lines, "", *_paragraph(SETTINGS), "", *_paragraph(f"Exit status: {EXIT_STATUS}.")])


def of_command(name: str) -> str:
    """One command: how it is called, what it does, its words and options, examples."""
    page = manual.of(name)
    # An option stays beside what it wants.
    usage = " ".join(part.replace(" ", _HELD) for part in synopsis(name))
    wrapped = textwrap.wrap(f"usage: {usage}", _WIDTH, subsequent_indent=" " * 12, break_on_hyphens=False)
    lines = [line.replace(_HELD, " ") for line in wrapped]
    lines += ["", *_paragraph(f"{page.summary[:1].upper()}{page.summary[1:]}.")]
    for text in page.text:
        lines += ["", *_paragraph(text)]
    explained = [(shown(word), text) for word, text in page.words.items()]
    explained += [(f"{option} {wants}".rstrip(), text) for option, (wants, text) in manual.options(name).items()]
    lines += ["", *_explained(explained)] if explained else []
    lines += ["", "Examples:"] if page.examples else []
    for line, text in page.examples:
        lines += [f"  {line}", f"      {text}"]
    return "\n".join(lines)


def of_code(code: str) -> str:
    """A code: what happened, what it can come from, what to do, and the exit status."""
    status, meaning = TABLE[code][0], MEANINGS[code]
    lines = [f"{code}: exit status {status} ({EXITS[status]})", "", *_paragraph(meaning.happened)]
    for title, sentences in (("What it can come from:", meaning.why), ("What to do:", meaning.do)):
        lines += ["", title, *(line for sentence in sentences for line in _item(sentence))]
    return "\n".join(lines)


def synopsis(name: str) -> list[str]:
    """``zerotrust roles [--json] [--broker URL]``, part by part."""
    known = COMMANDS[name]
    parts = ["zerotrust", name]
    for option, (wants, _) in manual.options(name).items():
        many = "..." if known.options[option] == MANY else ""
        parts.append(f"[{option} {wants}]{many}" if wants else f"[{option}]")
    parts += [shown(word) for word in known.words]
    behind = manual.of(name).behind
    parts += {True: ["--", f"{behind}..."], False: [], None: [f"[-- {behind}...]"]}[known.program]
    return parts


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="  - ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _explained(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """``  --role ROLE   the role``, the sentences below each other."""
    lines = []
    for left, text in pairs:
        wrapped = textwrap.wrap(text, _WIDTH - _LEFT - 4, break_long_words=False, break_on_hyphens=False) or [""]
        if len(left) > _LEFT:
            lines.append(f"  {left}")
            left = ""  # noqa: PLW2901  it has its line
        lines += [
            f"  {head:{_LEFT}}  {line}".rstrip()
            for head, line in zip([left, *[""] * len(wrapped)], wrapped, strict=False)
        ]
    return lines
