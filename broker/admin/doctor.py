"""``zerotrust-admin doctor``: what is wrong with this host's broker, or with its roles in AWS."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import click

from broker.admin.assembled import Assembled
from broker.admin.finding import Finding, UnknownCheck
from broker.admin.offline import EXIT_BAD, EXIT_CONFIG, EXIT_USAGE, broker_option, config_option
from broker.core.verdict import Verdict
from broker.core.visible import visible

_MARKS: Mapping[Verdict, str] = {
    Verdict.OK: click.style("ok  ", fg="green"),
    Verdict.WARN: click.style("warn", fg="yellow"),
    Verdict.BAD: click.style("BAD ", fg="red"),
    Verdict.UNSEEN: click.style("-   ", dim=True),
}
# The longest name of a check, and two blanks.
_WIDTH = 17
_INDENT = " " * (len("ok   ") + _WIDTH)
_OF_THE_CONFIGURATION = "config_invalid"


@click.command("doctor")
@click.option("--only", multiple=True, metavar="CHECK", help="Look at this alone; several times, or with commas.")
@click.option("--assume", is_flag=True, help="Walk every role's chain too, as the broker itself; leaves records of it.")
@click.option("--roles", is_flag=True, help="In place of all that: read the roles in AWS with YOUR credentials.")
@click.option("--profile", "profiles", multiple=True, help="The same with an AWS profile; once for each account.")
@click.option(
    "--endpoint-url", metavar="URL", help="For --roles another address of IAM and STS: https, or http on loopback."
)
@click.option("--probe", is_flag=True, help="In place of all that: try every hop without and with a wrong external ID.")
@click.option("--json", "as_json", is_flag=True, help="A list of findings as JSON.")
@broker_option
@config_option
@click.pass_obj
def doctor(
    assembled: Assembled,
    *,
    only: tuple[str, ...],
    assume: bool,
    roles: bool,
    profiles: tuple[str, ...],
    endpoint_url: str | None,
    probe: bool,
    as_json: bool,
    broker_arn: str | None,
    config: Path,
) -> None:
    """Find out what is wrong with the broker of this host, whether it runs or not. Run as root, it becomes the broker's account.

    Nothing is changed. Each line is one thing that was looked at, with the fix below what is wrong; "-" could not be looked at.
    With --assume roles are assumed, and with --probe hops are tried that must refuse: both leave records here and in CloudTrail.

    Ends with 78 if the configuration would not start, with 1 if anything else is bad, or if nothing could be seen at all.
    """
    looks = bool(roles or profiles or endpoint_url or broker_arn)
    if probe and looks:
        _refuse("--probe takes everything from the configuration — fix: leave the other options out")
    if (probe or looks) and (only or assume):
        _refuse("--only and --assume are for the broker of this host — fix: leave them out, or the options of roles")
    if probe or looks:
        from broker.admin.live_roles import look_at_roles, probe_roles  # noqa: PLC0415  # the host needs none of it
    if probe:
        probe_roles(assembled, config, as_json=as_json)
    if looks:
        look_at_roles(
            assembled, config, profiles=profiles, endpoint_url=endpoint_url, broker_arn=broker_arn, as_json=as_json
        )
    found: list[tuple[str, Finding]] = []
    try:
        for name, finding in assembled.examine(config, only, assume):
            found.append((name, finding))
            if not as_json:
                click.echo(_shown(name, finding))
    except UnknownCheck as error:
        _refuse(str(error))
    if as_json:
        click.echo(json.dumps([finding.as_json(name) for name, finding in found], indent=2))
    sys.exit(_status([finding for _, finding in found]))


def _status(found: list[Finding]) -> int:
    if any(each.code == _OF_THE_CONFIGURATION for each in found):
        return EXIT_CONFIG
    verdicts = {each.verdict for each in found}
    return EXIT_BAD if Verdict.BAD in verdicts or verdicts <= {Verdict.UNSEEN} else 0


def _shown(name: str, finding: Finding) -> str:
    code = f" [{finding.code}]" if finding.code else ""
    lines = [f"{_MARKS[finding.verdict]} {name:{_WIDTH}}{visible(finding.evidence)}{code}"]
    lines += [f"{_INDENT}fix: {visible(finding.fix)}"] if finding.fix else []
    return "\n".join(lines)


def _refuse(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(EXIT_USAGE)
