"""``zerotrust fetch`` and ``zerotrust exec``: secrets of the broker's vault, for one program, in memory.

Which secret goes where is written ``NAME=PATH#FIELD``: a file's name or an environment variable's, the secret's path, and which
of its fields where it has several. Without ``NAME=`` it is the path's last step.
"""

from __future__ import annotations

import os
import time

from broker import wire
from broker.wire_secrets import PREFIX
from zerotrust_kerberos import output
from zerotrust_kerberos.answers import object_of
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.failures import Failure, clean
from zerotrust_kerberos.running.delivery import deliver, masked
from zerotrust_kerberos.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

    from zerotrust_kerberos.commands import Call
    from zerotrust_kerberos.settings import Settings

_PATH_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@-/")
_WORD_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
# Seconds. Later than a day is a restart; after a failure it is tried again so soon.
_RENEW_MIN, _RENEW_MAX, _AFTER_FAILURE = 1, 86400, 30


class Wish:
    """One secret, and its name on this side."""

    __slots__ = ("field", "name", "path")

    def __init__(self, text: str) -> None:
        name, equals, rest = text.rpartition("=")
        path, _, self.field = rest.partition("#")
        self.path = path
        self.name = name if equals else path.rpartition("/")[2]
        if not path or not _PATH_CHARS.issuperset(path) or path.startswith("/") or not self.name:
            raise Failure("usage", f"{text} is not NAME=PATH#FIELD")


def fetch_command(call: Call) -> str:
    """``zerotrust fetch``; with ``--renew`` it stays. Raises as ``fetch`` does."""
    wishes = [Wish(text) for text in call.words]
    if not wishes or "to" not in call.options:
        raise Failure("usage", "fetch needs --to DIR, and the paths of secrets")
    wanted, mask = call.settings(), call.options.get("mask", "")

    def once(watch: Watch) -> str:
        watch.start(wanted.timeout)
        return fetch(wishes, call.options["to"], wanted, watch, on_disk="disk" in call.switches, mask=mask)

    if "renew" in call.options:
        # Each time in a process that its watch may end.
        keep_fetching(lambda: output.printed(call.place, once), seconds_of(call.options["renew"]))
    return once(call.watch)


def values(wishes: Sequence[Wish], settings: Settings, watch: Watch) -> dict[str, str]:
    """The values by their names on this side.

    Raises:
        Failure: One of them cannot be had.
    """
    if len({wish.name for wish in wishes}) < len(wishes):
        raise Failure("usage", "two secrets have one name here")
    # One request a secret, however many of its fields are wanted.
    found = {path: _fields(path, settings, watch) for path in dict.fromkeys(wish.path for wish in wishes)}
    return {wish.name: _value(found[wish.path], wish) for wish in wishes}


def fetch(wishes: Sequence[Wish], folder: str, settings: Settings, watch: Watch, *, on_disk: bool, mask: str) -> str:
    """Write the values into files of ``folder``; what is to be printed.

    Raises:
        Failure: They cannot be had, or not be written there.
    """
    found = values(wishes, settings, watch)
    printed = masks(found, mask)
    deliver(folder, {name: value.encode() for name, value in found.items()}, on_disk=on_disk)
    return printed.rstrip("\n")


def keep_fetching(once: Callable[[], int], every: float) -> NoReturn:
    """Run ``once`` in a process of its own, now and ``every`` so many seconds, until SIGTERM.

    The first time must succeed, or its status is ours: an application must not start without its secrets. Later the files
    stay as they are until a try succeeds.
    """
    import signal  # noqa: PLC0415  # the other commands need none of its names

    def end(_number: int, _frame: object) -> None:
        os._exit(0)

    signal.signal(signal.SIGTERM, end)  # of a container's first process it would be ignored
    signal.signal(signal.SIGINT, end)
    status = _apart(once)
    if status:
        os._exit(status)
    while True:
        time.sleep(every if status == 0 else min(every, _AFTER_FAILURE))
        status = _apart(once)


def seconds_of(text: str) -> int:
    """``30s``, ``5m``, ``1h``.

    Raises:
        Failure: It is none, or too short or long.
    """
    try:
        seconds = wire.seconds_of(text, "renew")
    except ValueError:
        seconds = 0
    if not _RENEW_MIN <= seconds <= _RENEW_MAX:
        raise Failure("usage", f"--renew is 1s to 24h, not {text}")
    return seconds


def require_variable_names(wishes: Sequence[Wish]) -> None:
    """Check that each can be a variable by its name.

    Raises:
        Failure: ``usage``.
    """
    for wish in wishes:
        if not _WORD_CHARS.issuperset(wish.name) or wish.name[0].isdigit():
            raise Failure("usage", f"{wish.name} is no name of a variable: write NAME=PATH#FIELD")


def _apart(once: Callable[[], int]) -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(once())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def masks(found: Mapping[str, str], mask: str) -> str:
    """Lines that make a pipeline hide the values; nothing where ``mask`` names no runner. Raises as ``masked``."""
    return "".join(masked(mask, value, os.environ) for value in found.values()) if mask else ""


def _fields(path: str, settings: Settings, watch: Watch) -> dict[str, str]:
    fields = object_of(ask(settings, watch, method="GET", path=f"{PREFIX}{path}")).get("fields")
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise Failure("unexpected_answer", "no fields")
    return fields


def _value(fields: Mapping[str, str], wish: Wish) -> str:
    if wish.field:
        if wish.field not in fields:
            raise Failure("secret_not_found", f"{wish.path} has no field {wish.field}")
        return fields[wish.field]
    if len(fields) != 1:
        names = ", ".join(clean(name) for name in sorted(fields))
        raise Failure("usage", f"{wish.path} has the fields {names}: write {wish.path}#FIELD")
    return next(iter(fields.values()))
