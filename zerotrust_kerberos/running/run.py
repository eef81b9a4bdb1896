"""``zerotrust exec`` and ``zerotrust shell``: a program with a role's credentials, with secrets of the vault, or with both.

The program takes our place: signals reach it, its exit status is ours, and nothing stands between it and the terminal. It gets
the address of an endpoint beside it (``agent.beside``), which has fresh credentials for as long as it runs and ends with it; keys
themselves only where ``--env`` asks for them. Whatever else would lead an AWS program to other credentials is out of its way.
"""

from __future__ import annotations

import os
import shutil
import signal
import time

from broker import wire
from zerotrust_kerberos import output, times
from zerotrust_kerberos.credential_process import members_of, obtained
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.running import prompts, shadows, variables
from zerotrust_kerberos.running.secrets import Wish, masks, require_variable_names, values
from zerotrust_kerberos.signing_in import tickets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from zerotrust_kerberos.commands import Call

# What a shell says of a command that cannot be run, and of one that is not there (POSIX, Shell Command Language, 2.8.2).
_NOT_RUN, _NOT_FOUND = 126, 127
# Python ignores them for itself, and what is ignored stays so in the program.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_TOKEN, _TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
# Which role a shell is for; also how one inside another is noticed.
_SHELL = "ZEROTRUST_SHELL"


def exec_command(call: Call) -> NoReturn:
    """Become the program behind ``--``.

    Raises:
        Failure: It cannot have what it needs, and was not started.
    """
    secrets = [Wish(text) for text in call.many.get("secret", ())]
    wants_role = bool(call.words) or not secrets
    if not wants_role and ("env" in call.switches or "pass" in call.options):
        raise Failure("usage", "exec --env and --pass need ROLE", fix="zerotrust roles")
    if "env" in call.switches and "pass" in call.options:
        raise Failure("usage", "nothing renews what --env gives, --pass neither")
    require_variable_names(secrets)
    program = Program(call.program)
    environment = dict(os.environ)
    if wants_role:
        ours = _keys(call) if "env" in call.switches else _endpoint(call, {})[0]
        environment = variables.replaced(environment, ours)
    if secrets:
        environment |= _values(call, secrets)
    program.become(environment)


def shell_command(call: Call) -> NoReturn:
    """Become the user's shell, whose prompt says which role it is for.

    Raises:
        Failure: It stands inside another, or there are no credentials.
    """
    if inside := os.environ.get(_SHELL):
        raise Failure("usage", f"this shell is for {inside} already: leave it first", fix="exit")
    path = os.environ.get("SHELL") or "/bin/sh"
    Program([path])
    role = call.settings_for_role().role or ""
    ends = _end(call)
    until = f" until {times.of_day(ends)}" if ends else ""
    prompt = prompts.for_shell(path, f"[{role}{until}] ")
    ours, folder = _endpoint(call, prompt.files)
    environment = variables.replaced(os.environ, ours) | prompt.environment(folder, os.environ) | {_SHELL: role}
    output.tell(f"a shell as {role}{until}; exit leaves it")
    Program([path, *prompt.words(folder)]).become(environment)


class Program:
    """A program that was looked for before anything was asked for on its behalf."""

    def __init__(self, words: Sequence[str]) -> None:
        """Find it, or end with a shell's status for one that is not there."""
        self._words = list(words)
        # Whoever starts us in a shell's background has us ignore Ctrl-C, and means the program too.
        self._is_ctrl_c_ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        if shutil.which(words[0]) is None:
            is_there = os.path.exists(words[0])  # noqa: PTH110
            _give_up(words[0], "Permission denied" if is_there else "not found", _NOT_RUN if is_there else _NOT_FOUND)

    def become(self, environment: Mapping[str, str]) -> NoReturn:
        """Turn into it, with nothing of ours left."""
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN if self._is_ctrl_c_ignored else signal.SIG_DFL)
        try:
            os.execvpe(self._words[0], self._words, dict(environment))  # noqa: S606  # what the user asked to be run
        except OSError as error:
            is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
            _give_up(self._words[0], error.strerror or "", _NOT_FOUND if is_missing else _NOT_RUN)


def _give_up(program: str, why: str, status: int) -> NoReturn:
    output.say(f"zerotrust: {program}: {why}\n")
    os._exit(status)


# ---- what it is given ----


def _end(call: Call) -> int:
    """When there will be no more credentials, as Unix time; 0 where that cannot be told."""
    if "pass" in call.options:
        from zerotrust_kerberos.agent.supply import seconds_of  # noqa: PLC0415  as below

        return int(time.time()) + seconds_of(call.options["pass"])
    ticket = tickets.held()
    return 0 if ticket is None else ticket.ends


def _endpoint(call: Call, files: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The variables of an endpoint that ends with us, and so with the program; and the folder where it puts ``files``."""
    from zerotrust_kerberos.agent.beside import serve_beside  # noqa: PLC0415  it brings asyncio, 46 ms

    settings = call.settings_for_role()
    hidden = shadows.hidden(os.environ)
    beside = serve_beside(
        settings,
        scope=settings.scope,
        reason=settings.reason,
        job_pass=call.options.get("pass"),
        place=call.place,
        files={**hidden.files, **files},
    )
    ours = dict(beside.environment)
    # Both: Debian 12's AWS CLI does not know the file. Whoever may read our environment may read the file.
    with open(ours[_TOKEN_FILE], encoding="ascii") as file:  # noqa: PTH123
        ours[_TOKEN] = file.read()
    folder = os.path.dirname(ours[_TOKEN_FILE])  # noqa: PTH120
    return ours | hidden.environment(folder), folder


def _keys(call: Call) -> dict[str, str]:
    settings = call.settings_for_role()
    body = call.in_time(settings, lambda watch: obtained(settings, watch))
    ours = variables.given(members_of(body, wire.PROCESS_MEMBERS))
    until = times.until(times.seconds(ours["AWS_CREDENTIAL_EXPIRATION"]))
    output.tell(f"{settings.role} until {until}; nothing renews keys in the environment")
    return ours


def _values(call: Call, secrets: Sequence[Wish]) -> dict[str, str]:
    settings = call.settings()
    found = call.in_time(settings, lambda watch: values(secrets, settings, watch))
    if any("\0" in value for value in found.values()):
        raise Failure("usage", "a value with a NUL fits into no environment: use fetch")
    output.put(masks(found, call.options.get("mask", "")))
    return found
