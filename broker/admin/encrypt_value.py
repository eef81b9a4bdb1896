"""``zerotrust-admin encrypt-value``: a secret as it may stand in the configuration file for all its readers to see."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from broker.admin.assembled import Assembled
from broker.admin.offline import config_option, fail, settings_of
from broker.config.fields import path_of
from broker.config.model import Settings


@click.command("encrypt-value")
@click.argument("key", metavar="KEY")
@config_option
@click.pass_obj
def encrypt_value(assembled: Assembled, *, key: str, config: Path) -> None:
    """Seal what stdin holds for KEY of the configuration: redis.password, roles.dev.chain[0].external_id.

    Prints the text to write behind the key. It opens at this KEY alone, with encryption.key of this configuration.
    """
    if path_of(Settings, key) is None:
        fail(
            f"{key}: no key of this name takes a sealed text — fix: write it as check-config does, such as redis.password"
        )
    if key.startswith("encryption."):
        fail(f"{key}: cannot be sealed with itself — fix: name a private file as {key.rpartition('.')[2]}_file")
    settings = settings_of(config)
    try:
        # One newline at its end is echo's, as in a file.
        text = sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        fail("stdin: is not UTF-8 text — fix: write the value as text (keys in base64)")
    if not text:
        fail(f"stdin: is empty — fix: zerotrust-admin encrypt-value {key} < FILE")
    click.echo(assembled.sealed_value(settings, key=key, text=text))
