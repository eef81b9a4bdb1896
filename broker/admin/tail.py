"""``zerotrust-admin audit tail``: the records as they come, readable. Needs no broker."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from broker.admin.offline import config_option, fail, settings_of
from broker.admin.records import json_line, line_of
from broker.audit.event import Kind
from broker.audit.follow import Follower
from broker.audit.search import Found

# A person does not see the difference; the directory is looked at and no more.
_LOOK_EVERY_SECONDS = 0.25
# As a shell says of a program that SIGINT ended.
_EXIT_INTERRUPTED = 130


@click.command("tail")
@click.option(
    "-n", "--lines", "number", type=click.IntRange(min=0), default=10, show_default=True, help="So many first."
)
@click.option("--follow", "-f", is_flag=True, help="Then go on with each that comes, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="The records as JSON, one a line.")
@click.option("--user", help="Only what this principal did, or what was done to them.")
@click.option("--event", type=click.Choice([kind.value for kind in Kind]), help="Only of this kind.")
@click.option("--failures", is_flag=True, help="Only refusals and what went wrong.")
@click.option(
    "--from",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A record file or audit directory instead of the configured one; can be repeated.",
)
@config_option
def audit_tail(
    *,
    number: int,
    follow: bool,
    as_json: bool,
    user: str | None,
    event: str | None,
    failures: bool,
    roots: tuple[Path, ...],
    config: Path,
) -> None:
    """Show the last records of all instances, a line each, and those that come.

    Follows rotation and new instances. Nothing is verified here; no name can do anything to the terminal.
    """

    def wanted(found: Found) -> bool:
        said = found.says.get
        return (
            (user is None or user in (said("user"), said("about"), said("session_name")))
            and (event is None or said("event") == event)
            and not (failures and said("success") is not False)
        )

    follower = Follower(roots or [settings_of(config).audit.directory], wanted)
    try:
        _show(follower.last(number), as_json=as_json)
        while follow:
            time.sleep(_LOOK_EVERY_SECONDS)
            _show(follower.new(), as_json=as_json)
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        fail(f"{error.filename}: {error.strerror} — fix: name record files or the audit directory, readable to you")


def _show(found: Sequence[Found], *, as_json: bool) -> None:
    for one in found:
        if one.record is None:
            click.echo(f"{one.path}: a line that is no record: run zerotrust-admin audit verify", err=True)
        else:
            click.echo(json_line(one.record) if as_json else line_of(one.record))
