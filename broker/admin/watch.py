"""``zerotrust-admin watch replay``: the detectors over recorded files. ``alerts``: what the watch holds, and clearing it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from broker import wire_operators
from broker.admin.client import broker_options, connection
from broker.admin.offline import EXIT_CONFIG, config_option, fail, settings_of
from broker.core.errors import ConfigurationError
from broker.watch.detectors import Detectors
from broker.watch.places import Places
from broker.watch.replay import Replay, members
from broker.watch.states import InProcess


@click.group()
def watch() -> None:
    """What is unusual about who does what."""


@watch.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--geoip-database", type=click.Path(path_type=Path), help="A City database in MaxMind's format.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@config_option
def replay(*, files: tuple[Path, ...], geoip_database: Path | None, as_json: bool, config: Path) -> None:
    """Say what would have been an alert, when, and why. Needs no broker, and holds nothing from anybody.

    FILES are record files or audit directories; without them the configured directory and database are used. The state begins
    empty: the first weeks show how the detectors learn.
    """
    if not files:
        settings = settings_of(config)
        files, geoip_database = (settings.audit.directory,), geoip_database or settings.watch.geoip_database
    try:
        with contextlib.closing(Places(geoip_database)) as places:
            replayed = Replay(files, detectors=Detectors(states=InProcess()), places=places)
            found = asyncio.run(_printed(replayed, as_json=as_json))
    except ConfigurationError as error:
        click.echo(error, err=True)
        sys.exit(EXIT_CONFIG)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror} — fix: name record files or the audit directory, readable to you")
    count = replayed.count
    if not count.records:
        fail(f"no audit records in {_names(files)} — fix: name record files or the audit directory")
    broken = f", {count.broken} lines that are no records" if count.broken else ""
    click.echo(f"{found} alerts in {count.records} records{broken}", err=True)


async def _printed(replayed: Replay, *, as_json: bool) -> int:
    number = 0
    async for alert in replayed.alerts():
        number += 1
        found = members(alert)
        if as_json:
            click.echo(json.dumps(found))
            continue
        whom = found["user"] or found["source_ip"]
        click.echo(f"{found['at']}  {found['severity']:6}  {found['kind']}  {whom}")
        for sentence in found["why"]:
            click.echo(f"    {sentence}")
    return number


def _names(files: Sequence[Path]) -> str:
    return ", ".join(map(str, files))


@click.group()
def alerts() -> None:
    """What the watch holds from people because of an alert."""


@alerts.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the broker's answer as it is.")
@broker_options
def alerts_list(*, as_json: bool, **where: Any) -> None:
    """List who is held, or needs a newer ticket, and who was; the latest first. The alerts themselves are in the audit log."""
    found = connection(**where).ask("GET", wire_operators.ALERTS_PATH)
    if as_json:
        click.echo(json.dumps(found))
        return
    for one in found["alerts"]:
        state = one["response"] if one["in_force"] else "cleared"
        click.echo(f"{one['at']}  {state:8}  {one['user']}  by {one['by']}")


@alerts.command("clear")
@click.option("--user", required=True, metavar="PRINCIPAL", help="As klist prints it: alice@EXAMPLE.COM.")
@broker_options
def alerts_clear(*, user: str, **where: Any) -> None:
    """Lift what the watch holds from somebody, at every instance within a second."""
    found = connection(**where).ask("POST", wire_operators.CLEAR_PATH, wire_operators.clearing(user=user))
    click.echo(f"{found['user']} is cleared of: {', '.join(found['lifted'])}")
