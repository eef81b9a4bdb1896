"""``zerotrust-admin revoke-sessions``, ``revoke-credentials``, ``restore``, ``revocations``: what operators take and give back.

What was done is durable at one instance when a command has printed it. Where others have not confirmed it, the command says so
on stderr and ends with 1: what it asked for may not hold there yet.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from broker import wire_operators
from broker.admin.client import broker_options, connection
from broker.wire_operators import RevocationRequest

EXIT_UNCONFIRMED = 1

_WHOM = "As klist prints it: alice@EXAMPLE.COM."
_user = click.option("--user", required=True, metavar="PRINCIPAL", help=_WHOM)
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the broker's answer as it is.")


@click.command("revoke-sessions")
@click.option("--user", metavar="PRINCIPAL", help=_WHOM)
@click.option("--all", "everybody", is_flag=True, help="Of everybody.")
@_dry_run
@_json
@broker_options
def revoke_sessions(*, user: str | None, everybody: bool, dry_run: bool, as_json: bool, **where: Any) -> None:
    """End all sessions, job passes and cached credentials of somebody, or of everybody. A new ticket works at once."""
    if everybody == (user is not None):
        raise click.UsageError("name --user PRINCIPAL or --all")
    wanted = RevocationRequest(what="sessions", user=user, role=None, dry_run=dry_run)
    _revoke(wanted, where, as_json=as_json)


@click.command("revoke-credentials")
@_user
@click.option("--role", help="Only of this role. Without it: of every role, and their sessions and job passes end too.")
@click.option("--aws", is_flag=True, help="Deny their AWS sessions as well, at each role; needs aws.revocation.")
@_dry_run
@_json
@broker_options
def revoke_credentials(*, user: str, role: str | None, aws: bool, dry_run: bool, as_json: bool, **where: Any) -> None:
    """Give somebody nothing more, until `restore`. What AWS has handed out goes on until it expires, unless --aws denies it."""
    wanted = RevocationRequest(what="credentials", user=user, role=role, dry_run=dry_run, aws=aws)
    _revoke(wanted, where, as_json=as_json)


@click.command()
@_user
@click.option("--aws", is_flag=True, help="Lift denies at AWS as well: their sessions of before work again.")
@_json
@broker_options
def restore(*, user: str, aws: bool, as_json: bool, **where: Any) -> None:
    """Lift what `revoke-credentials` holds from somebody. What was ended stays ended, at AWS too unless --aws lifts that."""
    body = wire_operators.restoration(user=user, aws=aws)
    receipt = connection(**where).ask("POST", wire_operators.RESTORE_PATH, body)
    if as_json:
        click.echo(json.dumps(receipt))
    else:
        click.echo(f"{receipt['user']} may have credentials again, as the rules say")
        _tell_more(receipt)
    _confirm(receipt)


@click.command()
@_json
@broker_options
def revocations(*, as_json: bool, **where: Any) -> None:
    """List what is revoked, the latest first."""
    found = connection(**where).ask("GET", wire_operators.REVOCATIONS_PATH)
    if as_json:
        click.echo(json.dumps(found))
        return
    for one in found["revocations"]:
        more = (f" until {one['until']}" if one["until"] else "") + (f": {one['why']}" if one["why"] else "")
        who = one["user"] or "everybody"
        click.echo(f"{one['at']}  {one['state']:8}  {who}  {one['role'] or '-'}  by {one['by']}{more}")


def _revoke(wanted: RevocationRequest, where: Mapping[str, Any], *, as_json: bool) -> None:
    body = wire_operators.revocation(wanted)
    receipt = connection(**where).ask("POST", wire_operators.REVOCATIONS_PATH, body)
    if as_json:
        click.echo(json.dumps(receipt))
    else:
        verb = "would be stopped" if receipt["dry_run"] else "stopped"
        click.echo(f"{receipt['user'] or 'everybody'}: {verb}: {', '.join(receipt['stopped'])}")
        _tell_more(receipt)
    _confirm(receipt)


def _tell_more(receipt: Mapping[str, Any]) -> None:
    for one in receipt["aws"]:
        click.echo(f"{one['arn']} ({', '.join(one['roles']) or 'no role of the configuration'}): {one['said']}")
    for sentence in receipt["runs_on"]:
        click.echo(sentence)


def _confirm(receipt: Mapping[str, Any]) -> None:
    """Say what is not done everywhere, and end with that."""
    lines = list(_unconfirmed(receipt))
    for line in lines:
        click.echo(line, err=True)
    if lines:
        sys.exit(EXIT_UNCONFIRMED)


def _unconfirmed(receipt: Mapping[str, Any]) -> Iterator[str]:
    denying = receipt["aws"]
    denying = receipt["aws"]
    undone = [one for one in denying if not one["done"] and (one["reason"] or not receipt["dry_run"])]
    if undone:
        what = "could not be reached" if receipt["dry_run"] else "are not as they should be, and are tried again"
        fix = "journalctl -u 'zerotrust-broker*'" if receipt["dry_run"] else "zerotrust-admin revocations"
        yield f"{len(undone)} of {len(denying)} AWS roles {what} [aws_unfinished] — run: {fix}"
    if not receipt["told"] or receipt["not_heard"]:
        who = ", ".join(receipt["not_heard"]) or "every other instance: Redis did not take the news"
        yield f"done here, but not confirmed by {who} [unconfirmed] — run: zerotrust-admin revocations"
