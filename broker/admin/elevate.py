"""``zerotrust-admin requests``, ``approve``, ``deny``, ``break-glass``, ``reviews``: time boxes, from a prompt.

Whoever a rule names may ask and approve: being an operator is needed for reviews alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from broker import wire, wire_elevation
from broker.admin.client import broker_options, connection

_json = click.option("--json", "as_json", is_flag=True, help="Print the broker's answer as it is.")
_identifier = click.argument("identifier", metavar="ID")


@click.command()
@_json
@broker_options
def requests(*, as_json: bool, **where: Any) -> None:
    """List your requests for a time box, and those that you may approve, the latest first."""
    found = connection(**where).ask("GET", wire.REQUESTS_PATH)
    if as_json:
        click.echo(json.dumps(found))
        return
    for one in found["requests"]:
        click.echo(_line(one))


@click.command()
@_identifier
@_json
@broker_options
def approve(*, identifier: str, as_json: bool, **where: Any) -> None:
    """Approve somebody else's request."""
    _shown(connection(**where).ask("POST", _path(identifier, "approve")), as_json=as_json)


@click.command()
@_identifier
@click.option("--reason", help="Why, for the record.")
@_json
@broker_options
def deny(*, identifier: str, reason: str | None, as_json: bool, **where: Any) -> None:
    """End a request, or the time box that it opened: as one who may approve it, or as the one who asked."""
    body = wire_elevation.denial(reason=reason)
    _shown(connection(**where).ask("POST", _path(identifier, "deny"), body), as_json=as_json)


@click.command("break-glass")
@click.argument("role")
@click.option("--reason", required=True, help="Why, for the alarm and the review.")
@click.option("--duration", help="For less than the rule allows, such as 30m.")
@_json
@broker_options
def break_glass(*, role: str, reason: str, duration: str | None, as_json: bool, **where: Any) -> None:
    """In an emergency: open a time box for ROLE alone. It raises an alarm, and somebody else reviews what you did."""
    body = wire_elevation.elevation_request(role=role, reason=reason, duration=duration, break_glass=True)
    found = connection(**where).ask("POST", wire.REQUESTS_PATH, body)
    _shown(found, as_json=as_json)
    if not as_json:
        click.echo(f"run: zerotrust credential-process --role {role}", err=True)


@click.group(invoke_without_command=True)
@click.pass_context
@_json
@broker_options
def reviews(context: click.Context, /, *, as_json: bool, **where: Any) -> None:
    """List what was broken open on the broker's host, those that wait for a review first. For operators."""
    if context.invoked_subcommand is not None:
        return
    found = connection(**where).ask("GET", wire_elevation.REVIEWS_PATH)
    if as_json:
        click.echo(json.dumps(found))
        return
    for one in found["reviews"]:
        closed = f"  closed by {one['closed']['by']}: {one['closed']['note']}" if one["closed"] else ""
        text = f"{one['id']}  {one['state']:8}  {one['user']}  {one['role']}  {one['opened']}: {one['reason']}{closed}"
        click.echo(_plain(text))


@reviews.command("close")
@_identifier
@click.option("--note", required=True, help="What you found.")
@broker_options
def close(*, identifier: str, note: str, **where: Any) -> None:
    """Say that you looked at it. Whoever broke the glass cannot."""
    body = wire_elevation.closing(identifier=identifier, note=note)
    found = connection(**where).ask("POST", wire_elevation.CLOSE_PATH, body)
    click.echo(f"review {identifier} of {found['user']} is closed; the packet is {found['packet']}")


def _path(identifier: str, what: str) -> str:
    if len(identifier) != wire_elevation.ID_LENGTH or not identifier.isalnum() or not identifier.isascii():
        raise click.BadParameter("write the id as `zerotrust-admin requests` prints it", param_hint="ID")
    return f"{wire.REQUESTS_PATH}/{identifier}/{what}"


def _shown(one: Mapping[str, Any], *, as_json: bool) -> None:
    click.echo(json.dumps(one) if as_json else _line(one))


def _line(one: Mapping[str, Any]) -> str:
    role = one["role"] if one["scope"] is None else f"{one['role']}/{one['scope']}"
    until = f"until {one['ends']}" if one["state"] == "open" else f"asked {one['asked']}"
    given = "glass broken" if one["break_glass"] else f"{len(one['approvals'])} of {one['needed']} approvals"
    return _plain(f"{one['id']}  {one['state']:8}  {one['user']}  {role}  {until}  {given}: {one['reason']}")


def _plain(text: str) -> str:
    """Harmless on a terminal, whoever wrote the words in it."""
    return "".join(char if char.isprintable() else "?" for char in text)
