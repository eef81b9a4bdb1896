"""How ``zerotrust-admin`` speaks to the broker: as ``zerotrust`` does, with an operator's ticket, over a local socket or TLS.

Ticket, channel binding, the broker's proof of itself, limits and deadlines are the user's side's own; signing is added where
a key is named. Failures end the command with one line, ``what [CODE] — run: fix``, and a status of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from broker.admin.offline import EXIT_CONFIG, config_option, settings_of
from zerotrust_kerberos import settings
from zerotrust_kerberos.ask import ask
from zerotrust_kerberos.failures import EXIT_USAGE, Failure, Place, line
from zerotrust_kerberos.settings import Settings
from zerotrust_kerberos.watch import Watch

if TYPE_CHECKING:
    from broker.admin.signing import Signer

_Command = TypeVar("_Command", bound=Callable[..., Any])

# What to do about a refusal, where it is something else for an operator than for a user.
_FIXES = {
    "access_denied": "klist",
    "bad_request": "zerotrust-admin --help",
    "headers_too_large": "klist -e",
    "not_found": "zerotrust-admin --help",
    "too_large": "zerotrust-admin --help",
}


def broker_options(command: _Command) -> _Command:
    """The options of every command that asks a running broker."""
    for option in (
        config_option,
        click.option(
            "--signing-key",
            type=click.Path(path_type=Path),
            envvar="ZEROTRUST_ADMIN_SIGNING_KEY",
            help="Sign requests with this PEM key (RFC 9421).",
        ),
        click.option("--ca-file", type=click.Path(), help="Certificates to trust instead of the system's, for --url."),
        click.option("--url", help="The broker by HTTPS: https://HOST:PORT."),
        click.option("--socket", type=click.Path(), envvar="ZEROTRUST_ADMIN_SOCKET", help="The broker's admin.socket."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the broker is, and what requests are signed with."""

    settings: Settings
    signer: Signer | None

    def ask(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        """The broker's answer; or the end of the program, with one line."""
        place = _place(self.settings)

        def report(failure: Failure) -> None:
            click.echo(line(_for_operators(failure), place), err=True)

        watch = Watch(report)
        watch.start(self.settings.timeout)
        try:
            answer = ask(self.settings, watch, method=method, path=path, body=body, sign=self.signer)
            members = _members(answer)
        except Failure as failure:
            watch.speak()
            report(failure)
            sys.exit(failure.exit_status)
        watch.speak()
        return members


def connection(
    *, socket: str | None, url: str | None, ca_file: str | None, signing_key: Path | None, config: Path
) -> Connection:
    """From the options; or the end of the program, with one line.

    The first of these says where the broker is: ``--url``; ``--socket`` or ``ZEROTRUST_ADMIN_SOCKET``; ``admin.socket`` of the
    configuration, on the broker's own host; the ``broker_url`` of the user's side.
    """
    if url and socket and os.environ.get("ZEROTRUST_ADMIN_SOCKET") != socket:
        _refuse(Failure("configuration", "--url and --socket name two brokers", fix="zerotrust-admin --help"))
    flags = {"broker_url": url} if url else {"broker_url": f"unix:{socket}"} if socket else _of_this_host(config)
    if ca_file:
        flags["ca_file"] = ca_file
    try:
        wanted = settings.load(flags, os.environ)
        return Connection(settings=wanted, signer=_signer(signing_key) if signing_key else None)
    except Failure as failure:
        fix = failure.fix or "zerotrust-admin --help"
        _refuse(Failure(failure.code, failure.detail, fix=fix))
    except ValueError as error:
        what, _, fix = str(error).partition(" — fix: ")
        _refuse(Failure("configuration", what, fix=fix or "openssl genpkey -algorithm ed25519 -out KEY; chmod 600 KEY"))


def _signer(key: Path) -> Signer:
    from broker.admin.signing import Signer as Made  # noqa: PLC0415  # half of the start, for those who sign

    return Made.from_file(key)


def _of_this_host(config: Path) -> dict[str, str]:
    """The socket and the name of the broker whose configuration lies here and may be read."""
    if not os.access(config, os.R_OK):
        return {}
    found = settings_of(config, secrets_of=frozenset())
    if found.admin is None or found.admin.socket is None:
        return {}
    host = {"host": found.server.hostnames[0]} if found.server.hostnames else {}
    return {"broker_url": f"unix:{found.admin.socket}", **host}


def _place(wanted: Settings) -> Place:
    place = Place(sys.argv[1:])
    broker = wanted.broker
    place.program, place.host, place.spn = "zerotrust-admin", broker.host, wanted.spn
    trust = ("--cacert", wanted.ca_file) if wanted.ca_file and broker.scheme == "https" else ()
    socket = ("--unix-socket", broker.path) if broker.path else ()
    place.curl = ("curl", "-v", *trust, *socket, f"http://{broker.authority}" if broker.path else broker.url)
    return place


def _for_operators(failure: Failure) -> Failure:
    if failure.code not in _FIXES:
        return failure
    return Failure(failure.code, failure.detail, fix=_FIXES[failure.code], wait=failure.wait)


def _members(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise Failure("unexpected_answer", "not a JSON object")
    return dict(found)


def _refuse(failure: Failure) -> NoReturn:
    """End with what is wrong about the settings."""
    place = Place(sys.argv[1:])
    place.program = "zerotrust-admin"
    click.echo(line(failure, place), err=True)
    sys.exit(EXIT_CONFIG if failure.exit_status == EXIT_USAGE else failure.exit_status)
