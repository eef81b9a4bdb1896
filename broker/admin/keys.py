"""``zerotrust-admin keys``: which key versions there are, what is due, and letting others follow.

The broker does what is due by itself. The commands are for looking, for a key that is feared to be known, and for the master
key in a file, which nobody but its operator can change.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from broker import wire_operators
from broker.admin.client import broker_options, connection
from broker.admin.offline import fail

_KEY_BYTES = 32
_MODE = 0o600
_DAY, _HOUR = 86_400, 3_600
_json = click.option("--json", "as_json", is_flag=True, help="Print the broker's answer as it is.")


@click.group()
def keys() -> None:
    """See and rotate the keys that seal what the broker keeps."""


@keys.command("status")
@_json
@broker_options
def show(*, as_json: bool, **where: Any) -> None:
    """Say of each key version how old it is, what it does, what still needs it; and what is due when."""
    found = connection(**where).ask("GET", wire_operators.KEYS_PATH)
    click.echo(json.dumps(found) if as_json else "\n".join(_lines(found)))


@keys.command()
@click.argument("what", type=click.Choice(wire_operators.ROTATED), required=False)
@click.option("--due", is_flag=True, help="Do what the schedule says is due, and nothing else.")
@click.option(
    "--new-key-file",
    type=click.Path(path_type=Path),
    help="For `master`, where the key lies in a file: write a new one here, and say what to change in the configuration.",
)
@_json
@broker_options
def rotate(*, what: str | None, due: bool, new_key_file: Path | None, as_json: bool, **where: Any) -> None:
    """Let a new version follow: of what seals data, of what seals sessions, or the master key. All old ones still open."""
    if due == (what is not None):
        raise click.UsageError("name data, session or master; or --due")
    if new_key_file is not None:
        if what != wire_operators.MASTER:
            raise click.UsageError("--new-key-file is for `rotate master`")
        _write(new_key_file)
        click.echo(_NEXT_STEPS.format(path=new_key_file))
        return
    body = wire_operators.rotation(what or wire_operators.DUE)
    found = connection(**where).ask("POST", wire_operators.ROTATE_PATH, body)
    if as_json:
        click.echo(json.dumps(found))
        return
    for done in found["done"]:
        click.echo(f"new: {done}")
    click.echo("\n".join(_lines(found)) if found["done"] else "nothing was due")


_NEXT_STEPS = """\
{path} holds a new master key. Nothing has changed yet. On each host, one after the other:
  1. copy it there, readable by the broker alone: chmod 600, its account's own;
  2. in the configuration: encryption.key_file: {path}, and the old file first under encryption.previous_key_files;
  3. restart the broker.
Until the last host has it, the old one opens too: zerotrust-admin keys status names the hosts that have another. Then what
wraps keys is made anew under the new one by itself; the data keys stay. Leave the old file under previous_key_files for as
long as the audit log's change of key has to be certified (docs/audit-keys.md)."""


def _write(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    except OSError as error:
        fail(f"{path} cannot be made ({error.strerror}) — fix: name a file that is not there yet")
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(descriptor)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    master = found["master"]
    yield f"master   {master['id']}  due {master['due'] or '-'}"
    for host in master["hosts_that_have_another"]:
        yield f"         {host} has another master key: the old one is still needed"
    for kind, one in found["kinds"].items():
        yield f"{kind:8} due {one['due'] or '-'}"
        for version in one["versions"]:
            needed = f"  needed by {', '.join(version['needed_by'])}" if version["needed_by"] else ""
            own = "  (the master key itself)" if version["is_master_key"] else ""
            age = _age(version["age_seconds"])
            yield f"         {version['id']}  {version['state']:6}  made {version['made']} ({age} ago){own}{needed}"
        for grave in one["destroyed"]:
            yield f"         {grave['id']}  destroyed {grave['at']}"
    for what, why in found["faults"].items():
        yield f"fault    {what}: {why}"


def _age(seconds: int) -> str:
    return f"{seconds // _DAY}d" if seconds >= _DAY else f"{seconds // _HOUR}h" if seconds >= _HOUR else f"{seconds}s"
