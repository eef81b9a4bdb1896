"""An endpoint beside one command: a process of its own that ends with the one that started it, and is nobody's child.

A program that waits for all its children would wait for one that it never started, so the endpoint watches the program's process
(pidfd_open(2), Linux 5.3) instead of being told of its parent's end.

The command gets an address and the name of a file with a token in it, and no keys: it asks when it needs some, for as long as it
runs, and gets such as last.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
from collections.abc import Coroutine, Mapping
from typing import NoReturn

from zerotrust_kerberos.agent.staying import stay
from zerotrust_kerberos.agent.supply import Supply, supply
from zerotrust_kerberos.failures import TABLE, Failure, Place
from zerotrust_kerberos.settings import Settings

_READ = 65536


class Beside:
    """A running endpoint.

    Attributes:
        environment: What the command needs: ``AWS_CONTAINER_CREDENTIALS_FULL_URI`` and
            ``AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE``.
        pid: Of the endpoint's process.
    """

    def __init__(self, *, pid: int, environment: dict[str, str]) -> None:
        self.pid = pid
        self.environment = environment

    def close(self) -> None:
        """End it and wait until nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            ending = os.pidfd_open(self.pid)
            try:
                signal.pidfd_send_signal(ending, signal.SIGTERM)
                select.select([ending], [], [])
            finally:
                os.close(ending)


def serve_beside(
    settings: Settings,
    *,
    scope: str | None = None,
    reason: str | None = None,
    job_pass: str | None = None,
    place: Place | None = None,
    files: Mapping[str, str] | None = None,
) -> Beside:
    """Start one for ``settings.role``; returns when it has credentials, some ten seconds later at most.

    To be called before a watch is started, by the main thread of a process that stays, or that becomes the command.

    Args:
        settings: Where the broker is, and the role.
        scope: Of the role, or all of it.
        reason: For the record.
        job_pass: How long the command may run after its user's ticket has ended (``12h``): by a job pass, made now.
        place: What the endpoint's lines talk about.
        files: What else the command shall find beside the token, by name, until it ends.

    Raises:
        Failure: There are no credentials, and nothing was started.
    """
    if settings.role is None:
        raise Failure("usage", "a role is needed", fix="zerotrust roles")
    talk = place or _place(settings)
    wanted = supply(settings, scope=scope, reason=reason, job_pass=job_pass)
    try:
        parent = os.pidfd_open(os.getpid())
    except OSError as error:
        raise Failure("output_failed", f"no endpoint: {error.strerror}") from error
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        if os.fork():
            os._exit(0)
        _child(settings, wanted, place=talk, files=files or {}, parent=parent, pipe=theirs)
    os.waitpid(pid, 0)
    for descriptor in (theirs, parent):
        os.close(descriptor)
    with os.fdopen(ours, "rb") as answer:
        said = answer.read()
    if said.startswith(b"{"):
        found = json.loads(said)
        return Beside(pid=found["pid"], environment=found["environment"])
    code, detail, fix, wait = json.loads(said or b'["output_failed","the endpoint ended at once",null,5]')
    raise Failure(code if code in TABLE else "output_failed", detail, fix=fix, wait=wait)


def _place(settings: Settings) -> Place:
    place = Place(("whoami",))
    place.host, place.spn = settings.broker.host, settings.spn
    return place


def _child(
    settings: Settings, wanted: Supply, *, place: Place, files: Mapping[str, str], parent: int, pipe: int
) -> NoReturn:
    """The endpoint's process. Ctrl-C is for the command; when that ends, we do."""
    try:
        os.setsid()
        _let_go()
        staying = stay(
            role=settings.role or "",
            supply=wanted,
            place=place,
            is_in_file=True,
            files=files,
            has_imds=False,
            ready=lambda environment: _say(pipe, {"pid": os.getpid(), "environment": environment}),
            told=lambda _line: None,  # the SDK prints it
        )
        asyncio.run(_while_it_lives(parent, staying))
    except Failure as failure:
        _say(pipe, [failure.code, failure.detail, failure.fix, failure.wait])
    except OSError as error:
        _say(pipe, ["output_failed", f"no endpoint: {error.strerror}", None, 5])
    finally:
        os._exit(0)


async def _while_it_lives(parent: int, staying: Coroutine[object, object, None]) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(parent)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(parent, end)
    await staying


def _let_go() -> None:
    """Of what the command reads and writes: whoever reads from it waits for all who hold it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _say(pipe: int, what: object) -> None:
    with contextlib.suppress(OSError):
        os.write(pipe, json.dumps(what).encode())
        os.close(pipe)
