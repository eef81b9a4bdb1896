"""``zerotrust-admin``: what operators and auditors do."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from broker import __version__
from broker.audit.signer import jwks_of, signer_of
from broker.audit.verify import Report, verify
from broker.config.load import load
from broker.config.model import Settings
from broker.core.errors import ConfigurationError

EXIT_BAD = 1
EXIT_CONFIG = 78

_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("/etc/zerotrust/config.yaml"),
    show_default=True,
    envvar="ZEROTRUST_CONFIG",
    help="The broker's configuration; read only where the arguments do not say everything.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zerotrust-admin")
def main() -> None:
    """Operate and audit the broker."""


@main.group()
def audit() -> None:
    """The audit log."""


@audit.command("verify")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--jwks", type=click.Path(path_type=Path), help="The public keys.")
@_config
def audit_verify(files: tuple[Path, ...], jwks: Path | None, config: Path) -> None:
    """Check records and checkpoints. Needs no broker.

    FILES are record files or audit directories. Without them the configured directory is checked; without --jwks
    the configured key's public half is used.
    """
    keys = _read_jwks(jwks) if jwks else jwks_of(signer_of(_settings(config).encryption.key_bytes()))
    roots = list(files) or [_settings(config).audit.directory]
    try:
        report = verify(roots, jwks=keys)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror} — fix: name record files or the audit directory, readable to you")
    except ValueError as error:
        _fail(f"{jwks}: {error} — run: curl -o {jwks} https://BROKER/.well-known/jwks.json")
    if not (report.records or report.findings):
        _fail(f"no audit records in {', '.join(map(str, roots))} — run: zerotrust-admin audit verify DIRECTORY")
    _print(report)
    sys.exit(EXIT_BAD if report.findings else 0)


def _settings(config: Path) -> Settings:
    try:
        return load(config, environ=os.environ)
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(EXIT_CONFIG)


def _read_jwks(path: Path) -> Mapping[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        _fail(f"{path}: not a JWKS: {error}")
    if not isinstance(found, dict):
        _fail(f"{path}: not a JWKS: expected a JSON object")
    return found


def _print(report: Report) -> None:
    for remark in report.remarks:
        click.echo(f"note: {remark}", err=True)
    for finding in report.findings:
        click.echo(str(finding), err=True)
    verdict = "BAD" if report.findings else "good"
    click.echo(
        f"{verdict}: {report.records} records, {report.instances} instances, {report.checkpoints} checkpoints checked"
    )


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(EXIT_BAD)
