"""What commands that need no broker begin with: its configuration, and how they end where something is wrong.

Those that ask a running broker end the same way, and read no configuration where they are told where it is; so what reads it is
loaded when it is read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import orjson

from broker.admin.assembled import Assembled
from broker.core.errors import ConfigurationError, ConfigurationUnavailable

if TYPE_CHECKING:
    from broker.config.model import Settings

EXIT_BAD = 1
EXIT_USAGE = 2
# sysexits.h EX_CONFIG.
EXIT_CONFIG = 78
# EX_TEMPFAIL: the vault that the configuration names does not answer.
EXIT_UNAVAILABLE = 75

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("/etc/zerotrust/config.yaml"),
    show_default=True,
    envvar="ZEROTRUST_CONFIG",
    help="The broker's configuration; read only where the arguments do not say everything.",
)
broker_option = click.option(
    "--broker-arn",
    metavar="ARN",
    help="The IAM user or role whose credentials the broker has: the caller of every first hop. Without it doctor asks AWS "
    "with these credentials, and trust-policy trusts the whole account of the first hop.",
)

# What a command without a broker works with; a vault is asked for secrets of no other section.
_OF_RECORDS = frozenset({"encryption"})


def settings_of(config: Path, *, signs: bool = False, secrets_of: frozenset[str] | None = _OF_RECORDS) -> Settings:
    """The configuration; or the end, with all that is wrong with it.

    ``signs``: for a command that asks AWS. ``secrets_of``: the sections whose secrets the command uses; None for all.
    """
    from broker.config.load import load  # noqa: PLC0415

    assembled = click.get_current_context().find_object(Assembled)
    resolver = None if assembled is None else assembled.resolver(None if signs else secrets_of)
    try:
        return load(config, environ=os.environ, signs=signs, resolver=resolver)
    except ConfigurationUnavailable as error:
        click.echo(error, err=True)
        sys.exit(EXIT_UNAVAILABLE)
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(EXIT_CONFIG)


def keys_of(jwks: Path | None, config: Path) -> Mapping[str, Any]:
    """The public keys of records that are named, or the configured ones; or the end. An HSM that signs is not asked."""
    if jwks:
        return read_jwks(jwks)
    settings = settings_of(config)
    return _held_keys(settings) if settings.encryption.master.is_local else own_keys(settings)


def own_keys(settings: Settings) -> Mapping[str, Any]:
    """The configured keys' public halves, for checkpoints too; or the end, where an HSM or a master key elsewhere is away."""
    if settings.encryption.master.is_local and not settings.encryption.hsm.enabled:
        return _held_keys(settings)
    assembled = click.get_current_context().find_object(Assembled)
    assert assembled is not None  # noqa: S101  # the program's entry point gives it
    try:
        return assembled.own_keys(settings)
    except ConfigurationError as error:
        fail(str(error.problems[0]))


def _held_keys(settings: Settings) -> Mapping[str, Any]:
    from broker.audit.signer import jwks_of, signers_of  # noqa: PLC0415

    return jwks_of(*signers_of(settings.encryption.all_key_bytes()))


def read_jwks(path: Path) -> Mapping[str, Any]:
    """The public keys of a file; or the end, with what is wrong with it."""
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        fail(f"{path}: not a JWKS: {error}")
    if not isinstance(found, dict):
        fail(f"{path}: not a JWKS: expected a JSON object")
    return found


def fail(message: str) -> NoReturn:
    """Say what is wrong and how to mend it, and end."""
    click.echo(message, err=True)
    sys.exit(EXIT_BAD)
