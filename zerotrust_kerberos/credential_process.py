"""``zerotrust credential-process``: what ``credential_process`` of the AWS configuration runs.

On success stdout carries exactly one line, the JSON object that the AWS SDKs read, and nothing else is printed. On failure
stdout stays empty. The line is made anew from the members that belong in it: nothing a server adds reaches an SDK.
"""

from __future__ import annotations

from broker import wire
from zerotrust_kerberos.by_agent import by_agent
from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from zerotrust_kerberos.commands import Call
    from zerotrust_kerberos.settings import Settings
    from zerotrust_kerberos.watch import Watch

# Characters. AWS keeps session tokens below 4096; a role ARN has at most 2048.
_VALUE_MAX = 16 * 1024


def command(call: Call) -> str:
    """``zerotrust credential-process``. Raises as ``credential_process`` does."""
    settings = call.asking()
    call.place.role = settings.role or ""
    return credential_process(settings, call.watch)


def credential_process(settings: Settings, watch: Watch) -> str:
    """One line for stdout, without its line feed.

    Raises:
        Failure: No credentials were given, or not by the broker, or not in the shape agreed on.
    """
    if settings.role is None:
        raise Failure("usage", "credential-process needs --role", fix="zerotrust roles")
    return process_line(obtained(settings, watch))


def obtained(settings: Settings, watch: Watch) -> bytes:
    """The broker's body with the credentials of the settings' role, as it came; from an agent of this machine where there is one.

    Raises:
        Failure: No credentials were given, or not by the broker.
    """
    watch.waiting_for = "broker_timeout"
    body = by_agent(settings, question(settings))
    watch.waiting_for = "kdc_unreachable"
    return body if body is not None else asked(settings, watch)


def asked(settings: Settings, watch: Watch) -> bytes:
    """The same, from the broker itself and with the ticket."""
    from zerotrust_kerberos.ask import ask  # noqa: PLC0415  5 ms with all that Kerberos needs: not where an agent has answered

    return ask(settings, watch, method="POST", path=wire.CREDENTIALS_PATH, body=question(settings))


def question(settings: Settings) -> bytes:
    """The body of ``POST /v1/credentials`` for the settings' role."""
    # The settings admit no character in a name that JSON would escape.
    scope = f',"scope":"{settings.scope}"' if settings.scope is not None else ""
    reason = f',"reason":{_quoted(settings.reason)}' if settings.reason is not None else ""
    return f'{{"role":"{settings.role}"{scope}{reason}}}'.encode("ascii")


def _quoted(reason: str) -> str:
    if _is_plain(reason):
        return f'"{reason}"'
    import json  # noqa: PLC0415  6 ms, and most reasons are a ticket's number and a few words

    return json.dumps(reason)


def process_line(body: bytes) -> str:
    """The broker's body as the line of ``credential_process``.

    Raises:
        Failure: ``unexpected_answer``. No value is ever part of it.
    """
    members = members_of(body, wire.PROCESS_MEMBERS)
    fields = [f'"Version":{wire.VERSION}', *(f'"{name}":"{value}"' for name, value in members.items())]
    return "{" + ",".join(fields) + "}"


def members_of(body: bytes, names: Iterable[str]) -> dict[str, str]:
    """The ``names`` of the broker's body, as AWS gives them.

    Raises:
        Failure: ``unexpected_answer``. No value is ever part of it.
    """
    members = _members(body)
    if type(members.get("Version")) is not int or members["Version"] != wire.VERSION:
        raise Failure("unexpected_answer", "Version is not 1")
    found = {}
    for name in names:
        if name in wire.PROCESS_OPTIONAL and name not in members:
            continue
        value = members.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= _VALUE_MAX or not _is_plain(value):
            raise Failure("unexpected_answer", f"{name} is missing or not what AWS gives")
        found[name] = value
    return found


def _members(body: bytes) -> dict[str, object]:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Failure("unexpected_answer", "the body is not UTF-8") from error
    members = flat_object(text)
    if members is not None:
        return members
    import json  # noqa: PLC0415  6 ms, and what the broker writes is flat

    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure("unexpected_answer", "the body is not JSON") from error
    if not isinstance(found, dict):
        raise Failure("unexpected_answer", "the body is not a JSON object")
    return found


def flat_object(text: str) -> dict[str, object] | None:
    """The members of a JSON object of plain strings and small numbers, as the broker writes it; None for all other text.

    Without a backslash every quotation mark begins or ends a string, so splitting at them is reading.
    """
    pieces = text.split('"')
    if not len(pieces) % 2 or not _is_plain("".join(pieces)):
        return None
    members: dict[str, object] = {}
    expected, at = "{", 0
    while at + 2 < len(pieces):
        name, colon = pieces[at + 1], pieces[at + 2].strip(" ")
        if pieces[at].strip(" ") != expected or name in members:
            return None
        if colon == ":" and at + 4 < len(pieces):
            members[name] = pieces[at + 3]
            expected, at = ",", at + 4
        elif colon[:1] == ":" and colon[1:2].isdigit() and colon[2:] == ",":
            members[name] = int(colon[1])
            expected, at = colon, at + 2
        else:
            return None
    return members if pieces[at].strip(" ") == "}" and members else None


def _is_plain(value: str) -> bool:
    """Whether JSON writes a string as it is: printable ASCII without the two characters that it escapes."""
    return value.isascii() and value.isprintable() and '"' not in value and "\\" not in value
