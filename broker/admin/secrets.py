"""``zerotrust-admin secrets``: what is asked of the vault by a running broker, with one's own ticket.

No value is ever taken from the command line, where every account of the host could read it: it comes from a file, from standard
input, from a prompt, or the broker makes it. Being an operator gives nothing here; the rules of `secrets.rules` do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import click

from broker import wire_secrets
from broker.admin.client import broker_options, connection
from broker.core.secret_path import PATH_MAX, is_path
from broker.core.visible import visible
from broker.wire_secrets import Recipe

_VALUE = "value"
_READABLE = "readable"
_Command = TypeVar("_Command", bound=Callable[..., Any])

_json = click.option("--json", "as_json", is_flag=True, help="Print the broker's answer as it is.")
_reason = click.option("--reason", help="Why, for the record, and where a rule asks for it.")


class _Path(click.ParamType):  # type: ignore[type-arg]  # generic in the stubs alone
    """The path of a secret."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Letter by letter; the broker would refuse others, and some programs on the way would change them."""
        if not is_path(value) or value.endswith(wire_secrets.VERSIONS):
            hint = f"write at most {PATH_MAX} letters, digits and _.@- in components between slashes, the last not 'versions'"
            self.fail(hint, param, ctx)
        return str(value)


_path = click.argument("path", type=_Path())


@click.group()
def secrets() -> None:
    """Read and keep secrets in the vault, as the rules allow you."""


def _asking(command: _Command) -> _Command:
    return _reason(broker_options(command))


@secrets.command("get")
@_path
@click.option("--field", "name", help="Of a secret with several: this one.")
@click.option("--version", type=click.IntRange(min=1), help="Not the newest version, but this one.")
@_json
@_asking
def get(*, path: str, name: str | None, version: int | None, as_json: bool, reason: str | None, **where: Any) -> None:
    """Print one value, and nothing else."""
    found = connection(**where).ask("GET", _target(path, version=version, reason=reason))
    if as_json:
        click.echo(json.dumps(found))
        return
    fields: Mapping[str, str] = found["fields"]
    if name is None and len(fields) > 1:
        raise click.UsageError(f"{path} has {len(fields)} fields: name one of {', '.join(sorted(fields))} with --field")
    if name is not None and name not in fields:
        raise click.UsageError(f"{path} has no such field, but {', '.join(sorted(fields))}")
    # To a program the value as it is; a person's prompt begins on a line of its own.
    click.echo(fields[name or next(iter(fields))], nl=sys.stdout.isatty())


@secrets.command("put")
@_path
@click.argument("fields", nargs=-1, metavar="[FIELD=- | FIELD=@FILE | FIELD]...")
@click.option(
    "--generate",
    "policies",
    multiple=True,
    metavar="[FIELD=]POLICY",
    help="Let the broker make a value, which nobody sees: KIND[:LENGTH[:WORDS]], kinds are text, hex, base64, uuid; words, for "
    "a text, are lower, upper, digits, symbols and readable: text:24:lower,digits.",
)
@click.option("--cas", type=click.IntRange(min=0), help="Only if this is the newest version; 0: only if there is none.")
@_reason
@_json
@broker_options
def put(
    *,
    path: str,
    fields: Sequence[str],
    policies: Sequence[str],
    cas: int | None,
    reason: str | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Write a new version of a secret. Its fields are all those of the new version.

    A FIELD's value is read from standard input (-), from a file (@FILE), or asked for. Without any there is one field, `value`.
    The end of a text's only line is not part of it.
    """
    generate = dict(_recipe_of(text) for text in policies)
    sources = dict(map(_source_of, fields or (() if generate else (_VALUE,))))
    if list(sources.values()).count("-") > 1:
        raise click.UsageError("only one field can be read from standard input")
    body = wire_secrets.writing(
        fields={name: _value_of(name, source) for name, source in sources.items()}, generate=generate, cas=cas
    )
    found = connection(**where).ask("PUT", _target(path, reason=reason), body)
    click.echo(json.dumps(found) if as_json else f"{path} is at version {found['version']}")


@secrets.command("list")
@click.argument("prefix", type=_Path(), required=False)
@_json
@_asking
def list_(*, prefix: str | None, as_json: bool, reason: str | None, **where: Any) -> None:
    """List the paths below PREFIX that you may list, or all of them."""
    query = _query(prefix=prefix, reason=reason)
    found = connection(**where).ask("GET", wire_secrets.SECRETS_PATH + query)
    if as_json:
        click.echo(json.dumps(found))
        return
    for path in found["secrets"]:
        click.echo(path)


@secrets.command()
@click.argument("prefix", type=_Path(), required=False)
@_json
@_asking
def due(*, prefix: str | None, as_json: bool, reason: str | None, **where: Any) -> None:
    """List what is overdue for rotation below PREFIX, the longest overdue first."""
    query = _query(prefix=prefix, due="true", reason=reason)
    found = connection(**where).ask("GET", wire_secrets.SECRETS_PATH + query)
    if as_json:
        click.echo(json.dumps(found))
        return
    for one in found["due"]:
        click.echo(visible(f"{one['path']}  since {one['since']}  {one['contact']}".rstrip()))


@secrets.command("versions")
@_path
@_json
@_asking
def versions_(*, path: str, as_json: bool, reason: str | None, **where: Any) -> None:
    """List the versions of a secret: who made each and when."""
    found = _known(path, reason, where)
    if as_json:
        click.echo(json.dumps({"versions": found["versions"]}))
        return
    for one in found["versions"]:
        gone = "".join(f"  {what} by {one[what]['by']}" for what in ("deleted", "destroyed") if one[what])
        click.echo(visible(f"{one['version']:5}  {one['made']['at']}  {one['made']['by']}{gone}"))


@secrets.command()
@_path
@click.option("--contact", help="Whom to ask about it.")
@click.option("--purpose", help="What it is for.")
@click.option("--type", "type_", help="What it is: password, api-key, certificate.")
@click.option("--rotate-every", help="When a new version is due: 90d. Empty: never.")
@click.option("--expires", help="When nobody may read it any more: 2026-12-31T00:00:00Z. Empty: never.")
@click.option("--versions-kept", type=click.IntRange(min=1), help="How many versions are kept.")
@click.option("--label", "labels", multiple=True, metavar="NAME=TEXT", help="Anything else; all labels are given anew.")
@_json
@_asking
def metadata(
    *, path: str, labels: Sequence[str], as_json: bool, reason: str | None, type_: str | None, **rest: Any
) -> None:
    """Show what is known of a secret; or, with one of the options, change it."""
    texts = {name: rest.pop(name) for name in ("contact", "purpose", "rotate_every", "expires", "versions_kept")}
    changes: dict[str, object] = {name: value for name, value in (*texts.items(), ("type", type_)) if value is not None}
    changes |= {name: changes[name] or None for name in ("rotate_every", "expires") if name in changes}
    if labels:
        changes["labels"] = dict(_label_of(text) for text in labels)
    if changes:
        connection(**rest).ask("POST", _target(path, verb="describe", reason=reason), wire_secrets.description(changes))
    found = _known(path, reason, rest)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        if name != "versions" and value not in (None, "", {}):
            click.echo(visible(f"{name}: {_said(value)}"))


@secrets.command()
@_path
@click.option(
    "--version", "numbers", type=int, multiple=True, help="Not the newest version, but this one; several times."
)
@_asking
def delete(*, path: str, numbers: Sequence[int], reason: str | None, **where: Any) -> None:
    """Delete the newest version, so that nobody reads it until it is brought back."""
    connection(**where).ask("DELETE", _target(path, reason=reason), _numbers(numbers))
    click.echo(f"{path}: {_versions(numbers)} deleted")


@secrets.command()
@_path
@click.option(
    "--version", "numbers", type=int, multiple=True, help="Not the newest version, but this one; several times."
)
@_asking
def undelete(*, path: str, numbers: Sequence[int], reason: str | None, **where: Any) -> None:
    """Bring back what was deleted."""
    connection(**where).ask("POST", _target(path, verb="undelete", reason=reason), _numbers(numbers))
    click.echo(f"{path}: {_versions(numbers)} back")


@secrets.command()
@_path
@click.option("--version", "numbers", type=int, multiple=True, required=True, help="Which one; several times.")
@_asking
def destroy(*, path: str, numbers: Sequence[int], reason: str | None, **where: Any) -> None:
    """Destroy versions: their values never come back."""
    connection(**where).ask("POST", _target(path, verb="destroy", reason=reason), _numbers(numbers))
    click.echo(f"{path}: {_versions(numbers)} destroyed")


@secrets.command()
@_path
@_asking
def archive(*, path: str, reason: str | None, **where: Any) -> None:
    """Put a secret away: nobody reads or writes it, or is reminded of it."""
    connection(**where).ask("POST", _target(path, verb="archive", reason=reason))
    click.echo(f"{path} is archived")


@secrets.command()
@_path
@_asking
def unarchive(*, path: str, reason: str | None, **where: Any) -> None:
    """Take an archived secret back."""
    connection(**where).ask("POST", _target(path, verb="unarchive", reason=reason))
    click.echo(f"{path} is back")


@secrets.command()
@_path
@_asking
def purge(*, path: str, reason: str | None, **where: Any) -> None:
    """Destroy all versions of a secret, and what is known of it, for ever."""
    connection(**where).ask("POST", _target(path, verb="purge", reason=reason))
    click.echo(f"{path} is gone")


def _known(path: str, reason: str | None, where: Mapping[str, Any]) -> dict[str, Any]:
    return connection(**where).ask("GET", _target(path, suffix=wire_secrets.VERSIONS, reason=reason))


def _target(path: str, *, verb: str | None = None, suffix: str = "", **query: object) -> str:
    return f"{wire_secrets.PREFIX}{path}{f':{verb}' if verb else ''}{suffix}{_query(**query)}"


def _query(**members: object) -> str:
    given = {name: value for name, value in members.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _source_of(text: str) -> tuple[str, str]:
    name, separator, source = text.partition("=")
    if separator and source != "-" and not source.startswith("@"):
        what = "a value on the command line is read by everybody on this host, and kept by your shell"
        raise click.UsageError(f"{what}: write {name}=- or {name}=@FILE, or {name} to be asked")
    return name, source


def _recipe_of(text: str) -> tuple[str, Recipe]:
    name, separator, policy = text.partition("=")
    kind, _, rest = (policy if separator else name).partition(":")
    length, _, words = rest.partition(":")
    classes = [word for word in words.split(",") if word]
    known = kind in wire_secrets.KINDS and (not length or length.isdecimal())
    if not known or set(classes) - {*wire_secrets.CLASSES, _READABLE}:
        raise click.BadParameter("write KIND[:LENGTH[:WORDS]], such as text:24:lower,digits", param_hint="--generate")
    default = Recipe()
    recipe = Recipe(
        kind=kind,
        length=int(length or default.length),
        classes=tuple(word for word in classes if word != _READABLE) or default.classes,
        readable=_READABLE in classes,
    )
    return name if separator else _VALUE, recipe


def _label_of(text: str) -> tuple[str, str]:
    name, separator, label = text.partition("=")
    if not separator:
        raise click.BadParameter("write NAME=TEXT", param_hint="--label")
    return name, label


def _value_of(name: str, source: str) -> str:
    try:
        if source.startswith("@"):
            return _one_line(Path(source[1:]).read_bytes().decode())
        if source == "-" or not sys.stdin.isatty():
            return _one_line(sys.stdin.buffer.read().decode())
    except OSError as error:
        raise click.UsageError(f"{name}: {source[1:]} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{name}: is no UTF-8 text: write it in base64") from None
    return str(click.prompt(name, hide_input=True, confirmation_prompt=True, err=True))


def _one_line(text: str) -> str:
    """``echo`` and editors end a line; of a text of several lines, such as PEM, the end belongs to it."""
    return text.removesuffix("\n") if text.count("\n") == 1 else text


def _numbers(numbers: Sequence[int]) -> bytes:
    return wire_secrets.versions(numbers) if numbers else b""


def _versions(numbers: Sequence[int]) -> str:
    return f"versions {', '.join(map(str, numbers))}" if numbers else "the newest version"


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        if "at" in value:
            return f"{value['at']} by {value['by']}"
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return str(value)
