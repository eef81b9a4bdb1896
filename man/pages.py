"""The pages: of the users' command by its own manual, of the others by what their ``--help`` says; in roff, or for the site."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import click

from broker.admin.cli import sections as admin_sections
from broker.cli import main as daemon
from man import roff
from zerotrust_kerberos import __version__, manual
from zerotrust_kerberos import help as words
from zerotrust_kerberos.commands import COMMANDS, shown
from zerotrust_kerberos.failures import TABLE
from zerotrust_kerberos.manual.page import SECTIONS
from zerotrust_kerberos.meanings import EXITS, MEANINGS

_MANUAL = "ZeroTrustKerberosLink"
_SOURCE = f"zerotrust {__version__}"
_USERS, _OPERATORS = 1, 8
_ABOUT = (
    """Asks the broker, with the ticket that `kinit` got, for credentials of an AWS role, and for what else there is to know.
    Nothing is kept on disk but what a command says it writes.""",
    """What was asked for goes to stdout, everything else to stderr. A failure is one line that names a code and a command to
    run; `zerotrust help CODE` explains it, without asking anybody.""",
)


class Page(Protocol):
    """What a page is written with, whatever it becomes: see ``roff.Page``."""

    def heading(self, title: str) -> None:
        """A section."""

    def subheading(self, title: str) -> None:
        """A part of a section."""

    def paragraphs(self, texts: Iterable[str]) -> None:
        """Sentences with commands in backticks."""

    def remark(self, text: str) -> None:
        """A paragraph behind a list."""

    def synopsis(self, program: str, parts: Iterable[str]) -> None:
        """How a command is called."""

    def explained(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Words, and what each is."""

    def made(self) -> str:
        """The file."""


class Form(Protocol):
    """Begins a page."""

    def __call__(self, title: str, *, section: int, source: str, manual: str, about: str) -> Page:
        """An empty one, of this title."""


def pages(form: Form = roff.Page) -> dict[str, str]:
    """Text by the page's name and section, such as ``zerotrust.1``."""
    made = {f"zerotrust-{name}.1": _of_command(form, name) for name in COMMANDS}
    made["zerotrust.1"] = _overview(form)
    made["zerotrust-broker.8"] = _of_click(
        form,
        "zerotrust-broker",
        about="turn Kerberos tickets into short-lived AWS credentials",
        text="The daemon. It runs in the foreground until SIGTERM, and takes a changed policy over at SIGHUP.",
        sections={"Commands": list(daemon.commands.values())},
    )
    made["zerotrust-admin.8"] = _of_click(
        form,
        "zerotrust-admin",
        about="operate and audit the broker",
        text="For operators, at a running broker, and for auditors, offline.",
        sections=admin_sections(),
    )
    return made


def _page(form: Form, title: str, about: str, *, section: int = _USERS) -> Page:
    return form(title, section=section, source=_SOURCE, manual=_MANUAL, about=about)


def _overview(form: Form) -> str:
    page = _page(form, "zerotrust", "AWS credentials for a Kerberos ticket")
    page.heading("SYNOPSIS")
    page.synopsis("zerotrust", ["COMMAND", "[OPTIONS]"])
    page.heading("DESCRIPTION")
    page.paragraphs(_ABOUT)
    page.heading("COMMANDS")
    for section in SECTIONS:
        found = [(name, manual.of(name).summary) for name in COMMANDS if manual.of(name).section == section]
        if found:
            page.subheading(section)
            page.explained((f"zerotrust-{name}(1)", summary) for name, summary in found)
    page.heading("OPTIONS")
    page.explained((f"{option} {wants}".rstrip(), text) for option, (wants, text) in manual.SHARED_OPTIONS.items())
    page.heading("ENVIRONMENT")
    page.explained(words.VARIABLES.items())
    page.heading("FILES")
    page.explained(
        [
            ("$XDG_CONFIG_HOME/zerotrust/config.toml", "your settings; without XDG_CONFIG_HOME in ~/.config"),
            ("/etc/zerotrust/client.toml", "this machine's settings"),
        ]
    )
    keys = ", ".join(f"`{key}`" for key in manual.SETTINGS)
    page.remark(f"Their keys are {keys}: what the variable of that name means.")
    page.heading("EXIT STATUS")
    page.explained((str(status), what) for status, what in EXITS.items())
    page.heading("DIAGNOSTICS")
    page.explained(
        (f"[{code}]", f"Exit status {TABLE[code][0]}. {meaning.happened}") for code, meaning in MEANINGS.items()
    )
    _see_also(page, ["kinit(1)", "klist(1)", "zerotrust-broker(8)", "zerotrust-admin(8)"])
    return page.made()


def _of_command(form: Form, name: str) -> str:
    known = manual.of(name)
    page = _page(form, f"zerotrust-{name}", known.summary)
    page.heading("SYNOPSIS")
    page.synopsis("zerotrust", words.synopsis(name)[1:])
    page.heading("DESCRIPTION")
    page.paragraphs(known.text or [f"{known.summary[:1].upper()}{known.summary[1:]}."])
    explained = [(shown(word), text) for word, text in known.words.items()]
    explained += [(f"{option} {wants}".rstrip(), text) for option, (wants, text) in manual.options(name).items()]
    if explained:
        page.heading("OPTIONS")
        page.explained(explained)
    page.heading("EXAMPLES")
    page.explained(known.examples)
    _see_also(page, ["zerotrust(1)"])
    return page.made()


def _of_click(
    form: Form, program: str, *, about: str, text: str, sections: Mapping[str, Sequence[click.Command]]
) -> str:
    page = _page(form, program, about, section=_OPERATORS)
    page.heading("SYNOPSIS")
    page.synopsis(program, ["COMMAND", "[OPTIONS]"])
    page.heading("DESCRIPTION")
    page.paragraphs([text])
    for title, commands in sections.items():
        page.heading(title.upper())
        for command in commands:
            for path, one in _leaves(command, [str(command.name)]):
                _describe(page, path, one)
    _see_also(page, ["zerotrust(1)"])
    return page.made()


def _leaves(command: click.Command, path: list[str]) -> Iterator[tuple[list[str], click.Command]]:
    """A command, or those below it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    if command.invoke_without_command:
        yield path, command
    for name, inner in command.commands.items():
        yield from _leaves(inner, [*path, name])


def _describe(page: Page, path: list[str], command: click.Command) -> None:
    context = click.Context(command, info_name=" ".join(path))
    arguments = [one.make_metavar(context) for one in command.params if isinstance(one, click.Argument)]
    page.subheading(" ".join([*path, *arguments]))
    said = click.unstyle(command.help or command.callback.__doc__ or "").replace("\b", "")
    page.paragraphs(" ".join(part.split()).replace("``", "`") for part in said.split("\n\n") if part.strip())
    records = (one.get_help_record(context) for one in command.params if isinstance(one, click.Option))
    page.explained(filter(None, records))


def _see_also(page: Page, names: list[str]) -> None:
    page.heading("SEE ALSO")
    page.paragraphs([", ".join(f"`{name}`" for name in names)])
