"""``zerotrust-admin audit``: whether the record can be believed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from broker.admin.offline import EXIT_BAD, config_option, fail, own_keys, read_jwks, settings_of
from broker.admin.prove import audit_check_proof, audit_prove
from broker.admin.tail import audit_tail
from broker.admin.trace import audit_trace
from broker.admin.witness import witness
from broker.audit.cosignature import BadWitnessKey, WitnessKey
from broker.audit.logs import Report
from broker.audit.verify import verify


@click.group()
def audit() -> None:
    """The audit log."""


audit.add_command(audit_trace)
audit.add_command(audit_tail)
audit.add_command(audit_prove)
audit.add_command(audit_check_proof)
audit.add_command(witness)


@audit.command("verify")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--jwks", type=click.Path(path_type=Path), help="The public keys.")
@click.option(
    "--witness-key", "witness_keys", multiple=True, metavar="KEY", help="A witness that must have signed checkpoints."
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A checkpoint that was kept elsewhere, such as a witness's: the log must go on from it.",
)
@config_option
def audit_verify(
    *,
    files: tuple[Path, ...],
    jwks: Path | None,
    witness_keys: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    config: Path,
) -> None:
    """Check records and checkpoints. Needs no broker.

    FILES are record files or audit directories. Without them the configured directory is checked; without --jwks
    the configured keys' public halves are used.
    """
    keys = read_jwks(jwks) if jwks else own_keys(settings_of(config))
    roots = list(files) or [settings_of(config).audit.directory]
    try:
        report = verify(
            roots,
            jwks=keys,
            witnesses=_witnesses(witness_keys),
            elsewhere=checkpoints,
            processes=len(os.sched_getaffinity(0)),
        )
    except OSError as error:
        fail(f"{error.filename}: {error.strerror} — fix: name record files or the audit directory, readable to you")
    except ValueError as error:
        fail(f"{jwks}: {error} — run: curl -o {jwks} https://BROKER/.well-known/jwks.json")
    if not (report.records or report.findings):
        fail(f"no audit records in {', '.join(map(str, roots))} — run: zerotrust-admin audit verify DIRECTORY")
    _print(report)
    sys.exit(EXIT_BAD if report.findings else 0)


def _witnesses(words: Sequence[str]) -> list[WitnessKey]:
    try:
        return [WitnessKey.parse(word) for word in words]
    except BadWitnessKey as error:
        fail(f"--witness-key: {error} — fix: copy the word that the witness prints when it starts")


def _print(report: Report) -> None:
    for remark in report.remarks:
        click.echo(f"note: {remark}", err=True)
    for finding in report.findings:
        click.echo(str(finding), err=True)
    verdict = "BAD" if report.findings else "good"
    click.echo(
        f"{verdict}: {report.records} records, {report.instances} instances, {report.checkpoints} checkpoints checked"
    )
