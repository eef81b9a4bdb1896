"""``zerotrust-admin whoami``, ``cancel-pass``: what an operator asks of a running broker."""

from __future__ import annotations

import json
from typing import Any

import click

from broker import wire_operators
from broker.admin.client import broker_options, connection


@click.command()
@broker_options
@click.option("--json", "as_json", is_flag=True, help="Print the broker's answer as it is.")
def whoami(*, as_json: bool, **where: Any) -> None:
    """Say who you are to the broker as an operator, and to which broker."""
    found = connection(**where).ask("GET", wire_operators.WHOAMI_PATH)
    if as_json:
        click.echo(json.dumps(found))
        return
    signed = f"signed with {found['signed_by']}" if found["signed_by"] else "not signed"
    must = "must be" if found["signature_required"] else "need not be"
    click.echo(f"{found['principal']}, an operator until {found['ticket_ends']}")
    click.echo(f"broker {found['version']}; requests {must} signed; this one is {signed}")


@click.command("cancel-pass")
@broker_options
@click.option("--user", required=True, help="Whose it is: alice@EXAMPLE.COM.")
@click.argument("identifier", metavar="ID")
def cancel_pass(*, identifier: str, user: str, **where: Any) -> None:
    """End the job pass of this ID (as audit records name it), and all that was made from it."""
    body = wire_operators.pass_cancellation(user=user, identifier=identifier)
    connection(**where).ask("POST", wire_operators.CANCEL_PATH, body)
    click.echo(f"job pass {identifier} of {user} is cancelled")
