"""``zerotrust``: the command of the user's side.

stdout is data, stderr is talk. Nothing here ever prompts, and everything ends within ten seconds. The command line is read by
hand because argparse costs as much start-up time as a whole run with a ticket at hand.
"""

from __future__ import annotations

import os
import sys

from zerotrust_kerberos import __version__, settings
from zerotrust_kerberos.credential_process import credential_process
from zerotrust_kerberos.failures import EXIT_INTERRUPTED, Failure, Place, line
from zerotrust_kerberos.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn, TextIO

    from zerotrust_kerberos.settings import Settings

_STDOUT, _STDERR = 1, 2
_CLOSED = "it is closed"

USAGE = """\
usage: zerotrust COMMAND [OPTIONS]

  credential-process --role R [--scope S] [--reason TEXT]
                                print credentials for R, limited to S, for credential_process of ~/.aws/config
  request --role R --reason TEXT [--scope S] [--duration 30m] [--json]
                                ask others to approve a time box for R
  roles [--json]                print the roles you may have, one a line
  whoami [--json]               print who you are to the broker
  exec --secret NAME=PATH[#FIELD] ... [--mask RUNNER] -- COMMAND [WORDS]
                                become COMMAND, with secrets in its environment and nowhere else
  fetch --to DIR [--renew 5m] [--disk] [--mask RUNNER] [NAME=]PATH[#FIELD] ...
                                write secrets to files in DIR, which must be in memory (or --disk); --renew: stay and do it again
  version                       print the version
  help                          print this

options of the first six:
  --broker URL     https://HOST[:PORT], http://HOST[:PORT] (this machine only) or unix:/PATH
  --ca-file FILE   certificates to trust instead of the system's
  --timeout S      seconds for everything together, at most 10
  --mask RUNNER    github, gitlab or azure: first tell the pipeline's log which values to hide

Settings come from options, then from ZEROTRUST_BROKER_URL, ZEROTRUST_CA_FILE, ZEROTRUST_ROLE, ZEROTRUST_TIMEOUT,
ZEROTRUST_HOST, ZEROTRUST_SPN and (in no file) ZEROTRUST_REASON, then from $XDG_CONFIG_HOME/zerotrust/config.toml, then from
/etc/zerotrust/client.toml.

exit status: 0 done, 1 other, 2 usage or settings, 3 no or expired ticket, 4 denied, 5 broker unreachable or TLS,
6 AWS refused, 7 approval or step-up needed, 8 throttled, 9 clock skew, 130 interrupted
"""

_SHARED = {"--broker": "broker_url", "--ca-file": "ca_file", "--timeout": "timeout"}
_OPTIONS = {
    "credential-process": {**_SHARED, "--role": "role", "--scope": "scope", "--reason": "reason"},
    "request": {
        **_SHARED,
        "--role": "role",
        "--scope": "scope",
        "--reason": "reason",
        "--duration": "duration",
        "--json": "",
    },
    "roles": {**_SHARED, "--json": ""},
    "whoami": {**_SHARED, "--json": ""},
    "exec": {**_SHARED, "--secret": "secret", "--mask": "mask"},
    "fetch": {**_SHARED, "--to": "to", "--renew": "renew", "--mask": "mask", "--disk": ""},
}
# Commands that take more than options: words of their own, an option several times.
_LOOSE = frozenset({"exec", "fetch"})
_ALIASES = {"--version": "version", "-h": "help", "--help": "help"}


def main() -> NoReturn:
    """The program: run the command line and end."""
    # Everything was written by then, and tearing the interpreter down would take a tenth of the helper's time.
    os._exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run one command; returns its exit status."""
    place = Place(words)
    return _ended(place, lambda watch: _command(words, place, watch))


def _ended(place: Place, command: Callable[[Watch], str]) -> int:
    """Do something under a watch of its own, print what comes of it; the exit status."""

    def report(failure: Failure) -> None:
        try:
            _write(sys.stderr, _STDERR, f"{line(failure, place)}\n")
        except OSError:
            return  # nobody listens; the exit status still tells

    watch = Watch(report)
    try:
        text = command(watch)
    except Failure as failure:
        watch.speak()
        report(failure)
        return failure.exit_status
    except KeyboardInterrupt:  # before the watch had taken over
        return EXIT_INTERRUPTED
    watch.speak()
    try:
        _write(sys.stdout, _STDOUT, f"{text}\n" if text else "")
    except OSError as error:
        broken = Failure("output_failed", error.strerror or "")
        report(broken)
        return broken.exit_status
    return 0


def _command(  # noqa: PLR0911  # a table of commands
    words: Sequence[str], place: Place, watch: Watch
) -> str:
    """What the command prints."""
    command = _ALIASES.get(words[0], words[0]) if words else ""
    if command == "version":
        return f"zerotrust {__version__}"
    # What stands behind -- is another program's.
    words, behind = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, None)
    if command == "help" or any(word in {"-h", "--help"} for word in words[1:]):
        return USAGE.rstrip("\n")
    if command not in _OPTIONS:
        raise Failure("usage", f"no command {command}" if command else "no command")
    if (behind is None) == (command == "exec"):
        raise Failure("usage", "exec needs -- and a command" if command == "exec" else f"{command} takes no --")
    loose: list[str] | None = [] if command in _LOOSE else None
    flags, as_json = _flags(command, words[1:], loose)
    if sys.stdout is None:
        raise Failure("output_failed", _CLOSED)  # before credentials are made that nobody gets
    wanted = settings.load(flags, os.environ)
    _locate(place, flags, wanted)
    if command == "exec":
        return _exec(flags, loose or [], behind or [], wanted, watch)
    if command == "fetch":
        return _fetch(flags, loose or [], wanted, watch, place, on_disk=as_json)
    watch.start(wanted.timeout)
    if command == "credential-process":
        return credential_process(wanted, watch)
    if command == "request":
        from zerotrust_kerberos.request import request  # noqa: PLC0415  it needs json

        return request(wanted, watch, duration=flags.get("duration"), as_json=as_json)
    from zerotrust_kerberos.questions import roles, whoami  # noqa: PLC0415  they need json

    return (roles if command == "roles" else whoami)(wanted, watch, as_json=as_json)


def _exec(
    flags: Mapping[str, str], loose: Sequence[str], program: Sequence[str], wanted: Settings, watch: Watch
) -> NoReturn:
    from zerotrust_kerberos.secrets import Wish, execute  # noqa: PLC0415  it needs json

    wishes = [Wish(text) for text in loose]
    if not wishes or not program:
        raise Failure("usage", "exec needs --secret NAME=PATH, and a command behind --")
    watch.start(wanted.timeout)
    execute(
        wishes, program, wanted, watch, mask=flags.get("mask", ""), write=lambda text: _write(sys.stdout, _STDOUT, text)
    )


def _fetch(
    flags: Mapping[str, str], loose: Sequence[str], wanted: Settings, watch: Watch, place: Place, *, on_disk: bool
) -> str:
    from zerotrust_kerberos.secrets import Wish, fetch, keep_fetching, seconds_of  # noqa: PLC0415  it needs json

    wishes = [Wish(text) for text in loose]
    if not wishes or "to" not in flags:
        raise Failure("usage", "fetch needs --to DIR, and the paths of secrets")

    def once(watch: Watch) -> str:
        watch.start(wanted.timeout)
        return fetch(wishes, flags["to"], wanted, watch, on_disk=on_disk, mask=flags.get("mask", ""))

    if "renew" in flags:
        # Each time in a process that its watch may end.
        keep_fetching(lambda: _ended(place, once), seconds_of(flags["renew"]))
    return once(watch)


def _locate(place: Place, flags: Mapping[str, str], wanted: Settings) -> None:
    """Fill in what the lines on stderr talk about."""
    broker = wanted.broker
    place.host, place.spn = broker.host, wanted.spn
    place.flags = [
        part for name, key in _SHARED.items() if key in flags and key != "timeout" for part in (name, flags[key])
    ]
    trust = ("--cacert", wanted.ca_file) if wanted.ca_file and broker.scheme == "https" else ()
    socket = ("--unix-socket", broker.path) if broker.path else ()
    place.curl = ("curl", "-v", *trust, *socket, f"http://{broker.authority}" if broker.path else broker.url)


def _flags(command: str, words: Sequence[str], loose: list[str] | None = None) -> tuple[dict[str, str], bool]:
    """``--name value`` and ``--name=value``; the last one counts. ``loose`` takes the words of commands that have such."""
    known, found, as_json = _OPTIONS[command], {}, False
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if loose is not None and not word.startswith("-") and command == "fetch":
            loose.append(word)
            continue
        if name not in known:
            raise Failure("usage", f"{command} does not take {name}")
        if not known[name]:
            if equals:
                raise Failure("usage", f"{name} takes no value")
            as_json = True
            continue
        given = value if equals else next(rest, "")
        if not given:
            raise Failure("usage", f"{name} needs a value")
        if loose is not None and name == "--secret":
            loose.append(given)
        else:
            found[known[name]] = given
    return found, as_json


def _write(stream: TextIO | None, descriptor: int, text: str) -> None:
    """The whole text, past Python's buffers: what os.write leaves over must not be lost, nor written after an error.

    Raises:
        OSError: Not all of it was taken.
    """
    if stream is None:
        # Closed since the start, so the number may belong to our own connection by now.
        raise OSError(_CLOSED)
    rest = text.encode("utf-8", "replace")
    while rest:
        rest = rest[os.write(descriptor, rest) :]
