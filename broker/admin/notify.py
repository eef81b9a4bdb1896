"""``zerotrust-admin notify-test``: whether those who should be told of a breach would be."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from broker import wire_operators
from broker.admin.client import broker_options, connection

EXIT_UNDELIVERED = 1


@click.command("notify-test")
@click.option("--channel", metavar="NAME", help="Only this one: email, slack, slack-2 ...  Without it: each.")
@click.option("--json", "as_json", is_flag=True, help="Print the broker's answer as it is.")
@broker_options
def notify_test(*, channel: str | None, as_json: bool, **where: Any) -> None:
    """Send a test message through each channel of security.breach_notification, and say what became of it."""
    body = wire_operators.notification_test(channel=channel)
    found = connection(**where).ask("POST", wire_operators.NOTIFICATION_TEST_PATH, body)
    if as_json:
        click.echo(json.dumps(found))
    else:
        for one in found["tried"]:
            click.echo(f"{one['channel']}: {'delivered' if one['delivered'] else 'NOT DELIVERED'}: {one['said']}")
    if not all(one["delivered"] for one in found["tried"]):
        click.echo(
            "not everybody would be told [undelivered] — run: zerotrust-admin notify-test --channel NAME, when it is mended",
            err=True,
        )
        sys.exit(EXIT_UNDELIVERED)
