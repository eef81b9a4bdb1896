"""``zerotrust``: the command of the user's side.

stdout is data, stderr is talk. The command line is read by hand because argparse costs as much start-up time as a whole run with
a ticket at hand (``commands``).
"""

from __future__ import annotations

import os
import sys

from zerotrust_kerberos import output
from zerotrust_kerberos.commands import read
from zerotrust_kerberos.credential_process import command as credential_process
from zerotrust_kerberos.failures import Failure, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from zerotrust_kerberos.commands import Call, Command
    from zerotrust_kerberos.watch import Watch


def main() -> NoReturn:
    """The program: run the command line and end."""
    # Everything was written by then, and tearing the interpreter down would take a tenth of the helper's time.
    os._exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run one command; returns its exit status."""
    place = Place(words)
    call: Call | None = None

    def command(watch: Watch) -> str:
        nonlocal call
        found, call = read(words, watch=watch, place=place)
        if sys.stdout is None:
            raise Failure("output_failed", output.CLOSED)  # before credentials are made that nobody gets
        try:
            return _function(found)(call)
        except Failure as failure:
            raise _better(failure, place) from failure

    failed = output.printed(place, command)
    return failed or (call.status if call else 0)


def _better(failure: Failure, place: Place) -> Failure:
    """The same, or, of a role that was mistyped, with the one that was meant."""
    if failure.code != "access_denied" or not place.role:
        return failure
    from zerotrust_kerberos.denied import with_role_meant  # noqa: PLC0415  only who is denied a role pays for it

    return with_role_meant(failure, place)


def _function(command: Command) -> Callable[[Call], str]:
    home, _, name = command.home.partition(":")
    if home == "credential_process":
        return credential_process
    import importlib  # noqa: PLC0415  the helper needs none of it

    function: Callable[[Call], str] = getattr(importlib.import_module(f"zerotrust_kerberos.{home}"), name)
    return function
