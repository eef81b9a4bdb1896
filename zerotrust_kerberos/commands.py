"""The commands of ``zerotrust``: where each lives and what it takes.

One table. The command line is read by it, and help, completion and manual pages are made of it and of the words in ``manual``.
A command is a function of one ``Call`` that returns what is to be printed; its module is imported when it is asked for. A new one
is a row here, a page in ``manual`` and its module.
"""

from __future__ import annotations

import os

from zerotrust_kerberos import settings
from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeVar

    from zerotrust_kerberos.failures import Place
    from zerotrust_kerberos.settings import Settings
    from zerotrust_kerberos.watch import Watch

    _Answer = TypeVar("_Answer")

# What stands behind an option: a value, of which the last counts; values, of which all count; nothing.
VALUE, MANY, SWITCH = "value", "many", "switch"

# Where the broker is. Their values are settings of the same names, but for --broker, which is broker_url.
SHARED = {"--broker": VALUE, "--ca-file": VALUE, "--timeout": VALUE}


class Command:
    """One command.

    Attributes:
        home: Module and function, ``module:function``, of this package.
        options: Each option and its kind.
        words: Names of the words that stand alone, in order. ``a|b`` is one of these; one in brackets may be left out; a last one
            with ``...`` stands for any number, without brackets for at least one.
        program: Whether words of another program follow behind ``--``; None where they may.
    """

    __slots__ = ("home", "options", "program", "words")

    def __init__(
        self,
        home: str,
        options: Mapping[str, str],
        *,
        words: Sequence[str] = (),
        program: bool | None = False,
    ) -> None:
        self.home = home
        self.options = options
        self.words = words
        self.program = program


# How an answer is printed.
SHOWN = {"--format": VALUE, "--json": SWITCH}

_NARROWED = {"--scope": VALUE, "--reason": VALUE}
_ROLE = {"--role": VALUE, **_NARROWED}

COMMANDS = {
    # Credentials.
    "credential-process": Command("credential_process:command", {**SHARED, **_ROLE}),
    "env": Command(
        "running.env:command",
        {**SHARED, **_NARROWED, "--format": VALUE, "--unset": SWITCH},
        words=("[role]",),
    ),
    "console": Command(
        "console.command:command",
        {**SHARED, **_NARROWED, "--service": VALUE, "--region": VALUE, "--path": VALUE, "--print": SWITCH},
        words=("[role]",),
    ),
    "serve": Command("agent.serve:command", {**SHARED, **_ROLE, "--token": VALUE, "--imds": SWITCH, "--pass": VALUE}),
    "agent": Command("agent.command:command", {**SHARED, "--socket": VALUE}),
    # What one may have.
    "roles": Command("access.questions:roles", {**SHARED, **SHOWN}),
    "whoami": Command("access.questions:whoami", {**SHARED, **SHOWN}),
    "explain": Command("access.questions:explain", {**SHARED, **SHOWN}, words=("[role]",)),
    "request": Command(
        "access.time_boxes:request", {**SHARED, **_ROLE, **SHOWN, "--duration": VALUE, "--break-glass": SWITCH}
    ),
    "requests": Command("access.time_boxes:requests", {**SHARED, **SHOWN}),
    "approve": Command("access.time_boxes:approve", {**SHARED, **SHOWN}, words=("id",)),
    "deny": Command("access.time_boxes:deny", {**SHARED, **SHOWN, "--reason": VALUE}, words=("id",)),
    # Programs, and what they are given.
    "exec": Command(
        "running.run:exec_command",
        {**SHARED, **_NARROWED, "--pass": VALUE, "--env": SWITCH, "--secret": MANY, "--mask": VALUE},
        words=("[role]",),
        program=True,
    ),
    "shell": Command("running.run:shell_command", {**SHARED, **_NARROWED, "--pass": VALUE}, words=("[role]",)),
    "fetch": Command(
        "running.secrets:fetch_command",
        {**SHARED, "--to": VALUE, "--renew": VALUE, "--mask": VALUE, "--disk": SWITCH},
        words=("secret...",),
    ),
    # Signing in.
    "login": Command(
        "signing_in.login:login",
        {
            **SHARED,
            "--pkinit": SWITCH,
            "--identity": VALUE,
            "--otp": SWITCH,
            "--armor-keytab": VALUE,
            "--step-up": VALUE,
        },
        words=("[principal]",),
        program=None,
    ),
    "logout": Command("signing_in.login:logout", {**SHARED, "--all": SWITCH, "--everywhere": SWITCH}),
    # Set up and help.
    "configure": Command(
        "profiles.command:command",
        {
            **SHARED,
            "--diff": SWITCH,
            "--print": SWITCH,
            "--write": SWITCH,
            "--prune": SWITCH,
            "--template": VALUE,
            "--region": VALUE,
            "--output": VALUE,
            "--from": VALUE,
        },
    ),
    "doctor": Command("doctor.command:command", {**SHARED, "--role": VALUE, "--json": SWITCH, "--fix": SWITCH}),
    "completion": Command("completion.command:command", {}, words=("bash|zsh|fish",), program=None),
    "version": Command("help:version", {}),
    "help": Command("help:command", {}, words=("[what]",)),
}
ALIASES = {"--version": "version", "-h": "help", "--help": "help"}


class Call:
    """A command line that was understood.

    Attributes:
        name: The command.
        options: Values by the option's name without its dashes; the last one counts.
        many: Those of options that count each time.
        switches: Options without a value, without their dashes.
        words: What stands alone.
        program: What stands behind ``--``.
        watch: Ends the process in time once it is started.
        place: What lines on stderr talk about.
        status: The exit status where nothing failed: for commands whose answer is one.
    """

    __slots__ = ("many", "name", "options", "place", "program", "status", "switches", "watch", "words")

    def __init__(self, name: str, *, watch: Watch, place: Place) -> None:
        self.name = name
        self.options: dict[str, str] = {}
        self.many: dict[str, list[str]] = {}
        self.switches: set[str] = set()
        self.words: list[str] = []
        self.program: list[str] = []
        self.watch = watch
        self.place = place
        self.status = 0

    def settings(self, **more: str) -> Settings:
        """Where the broker is, and what is wanted of it; ``more`` goes before the options.

        Raises:
            Failure: ``configuration`` or ``usage``.
        """
        flags = {
            ("broker_url" if name == "broker" else name.replace("-", "_")): value
            for name, value in self.options.items()
        }
        wanted = settings.load({**flags, **more}, os.environ)
        self._locate(wanted)
        if "role" in flags or "role" in more:
            self.place.role = wanted.role or ""
        return wanted

    def asking(self, **more: str) -> Settings:
        """The same, and from now on the command ends in time: for commands that ask one thing and end."""
        wanted = self.settings(**more)
        self.watch.start(wanted.timeout)
        return wanted

    def in_time(self, wanted: Settings, question: Callable[[Watch], _Answer]) -> _Answer:
        """The answer to one question, within its time; the command goes on without a limit. Raises as the question does."""
        watch = self.watch.anew()
        watch.start(wanted.timeout)
        try:
            return question(watch)
        finally:
            watch.end()

    def asking_for_role(self) -> Settings:
        """The same, with the role that the first word names; without one it is the settings'."""
        return self._with_role(self.asking(**self._role()))

    def settings_for_role(self) -> Settings:
        """As ``settings``, with the role that the first word names."""
        return self._with_role(self.settings(**self._role()))

    def _role(self) -> dict[str, str]:
        return {"role": self.words[0]} if self.words else {}

    def _with_role(self, wanted: Settings) -> Settings:
        if wanted.role is None:
            raise Failure("usage", f"{self.name} needs ROLE", fix="zerotrust roles")
        self.place.role = wanted.role
        return wanted

    def _locate(self, wanted: Settings) -> None:
        """Fill in what the lines on stderr talk about."""
        broker, place = wanted.broker, self.place
        place.host, place.spn = broker.host, wanted.spn
        named = [option for option in SHARED if option[2:] in self.options and option != "--timeout"]
        place.flags = [part for option in named for part in (option, self.options[option[2:]])]
        trust = ("--cacert", wanted.ca_file) if wanted.ca_file and broker.scheme == "https" else ()
        socket = ("--unix-socket", broker.path) if broker.path else ()
        place.curl = ("curl", "-v", *trust, *socket, f"http://{broker.authority}" if broker.path else broker.url)


def read(words: Sequence[str], *, watch: Watch, place: Place) -> tuple[Command, Call]:
    """Take a command line apart: ``--name value`` and ``--name=value``.

    Raises:
        Failure: ``usage``.
    """
    name = ALIASES.get(words[0], words[0]) if words else ""
    if name not in COMMANDS:
        raise _unknown(f"no command {name}", name, COMMANDS, words) if name else Failure("usage", "no command")
    command, call = COMMANDS[name], Call(name, watch=watch, place=place)
    # What stands behind -- is another program's.
    at = words.index("--") if "--" in words else len(words)
    ours, call.program = words[1:at], list(words[at + 1 :])
    if any(word in {"-h", "--help"} for word in ours):
        call = Call("help", watch=watch, place=place)
        call.words = [name]
        return COMMANDS["help"], call
    if command.program is not None and command.program != bool(call.program):
        what = f"{name} needs -- and a command" if command.program else f"{name} takes no --"
        raise Failure("usage", what, fix=_help_of(call))
    _sort(command, call, ours)
    _count(command, call)
    return command, call


def _sort(command: Command, call: Call, words: Sequence[str]) -> None:
    """Options, switches and words, each to its place."""
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") and command.words:
            call.words.append(word)
            continue
        option, equals, value = word.partition("=")
        kind, name = command.options.get(option), option[2:]
        if kind is None:
            what = f"{call.name} does not take {option}"
            raise _unknown(what, option, command.options, call.place.words, other=_help_of(call))
        if kind == SWITCH:
            if equals:
                raise Failure("usage", f"{option} takes no value", fix=_help_of(call))
            call.switches.add(name)
            continue
        given = value if equals else next(rest, "")
        if not given:
            raise Failure("usage", f"{option} needs a value", fix=_help_of(call))
        if kind == MANY:
            call.many.setdefault(name, []).append(given)
        else:
            call.options[name] = given


def _count(command: Command, call: Call) -> None:
    least = sum(1 for word in command.words if not word.startswith("["))
    if len(call.words) < least:
        raise Failure("usage", f"{call.name} needs {shown(command.words[len(call.words)])}", fix=_help_of(call))
    if len(call.words) > len(command.words) and not any("..." in word for word in command.words):
        raise Failure("usage", f"{call.name} does not take {call.words[len(command.words)]}", fix=_help_of(call))


def shown(word: str) -> str:
    """A word that stands alone, as it is shown: ``ROLE``, ``[WHAT]``; one of several as it is written."""
    return word if "|" in word else word.upper()


def _help_of(call: Call) -> str:
    return f"{call.place.program} help {call.name}"


def _unknown(what: str, word: str, known: Iterable[str], words: Sequence[str], *, other: str | None = None) -> Failure:
    """A name that there is not. The fix is the same line with the name that it is closest to; ``other`` where there is none."""
    import shlex  # noqa: PLC0415  only a slip pays for it

    from zerotrust_kerberos.slips import meant  # noqa: PLC0415  the same

    found = meant(word, known)
    if found is None:
        return Failure("usage", what, fix=other)
    better = [found + at[len(word) :] if at == word or at.startswith(f"{word}=") else at for at in words]
    return Failure("usage", f"{what}: did you mean {found}?", fix=shlex.join(["zerotrust", *better]))
