"""``zerotrust-admin compliance-report``: evidence for an auditor, from records, configuration and keys. Needs no broker."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from broker.admin.assembled import Assembled
from broker.admin.offline import EXIT_CONFIG, config_option, fail, own_keys, read_jwks, settings_of
from broker.audit.reading import lines
from broker.audit.search import chains_of
from broker.audit.verify import verify
from broker.config.model import Settings
from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError
from broker.reports.facts import Facts, Log, Verified
from broker.reports.report import Report, make
from broker.reports.standards import STANDARDS
from broker.reports.statistics import Statistics

_SUFFIXES = (".pdf", ".html", ".json")
_FILE_MODE = 0o600

_moment = click.DateTime(formats=["%Y-%m-%d"])


@click.command("compliance-report")
@click.option("--standard", required=True, type=click.Choice(sorted(STANDARDS)), help="Whose controls.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="A file that ends in .pdf, .html or .json; - for JSON.",
)
@click.option(
    "--from",
    "sources",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Record files or audit directories instead.",
)
@click.option("--since", type=_moment, help="The first day of the period (UTC). Without it: since the first record.")
@click.option("--until", type=_moment, help="The day after its last. Without it: to the last record.")
@click.option(
    "--jwks", type=click.Path(path_type=Path), help="The public keys, where the configuration has not the right one."
)
@click.option(
    "--restored",
    type=click.Path(path_type=Path),
    help="An audit directory that was restored from a backup, as a test of it.",
)
@config_option
@click.pass_obj
def compliance_report(
    assembled: Assembled,
    *,
    standard: str,
    output: Path,
    sources: tuple[Path, ...],
    since: datetime | None,
    until: datetime | None,
    jwks: Path | None,
    restored: Path | None,
    config: Path,
) -> None:
    """Write down what the broker can show for each control of a standard, and what it cannot.

    Reads the records, verifies them, and reads the configuration where it is there. The same records and configuration
    make the same bytes.
    """
    if output.suffix not in _SUFFIXES and str(output) != "-":
        raise click.UsageError(
            f"--output {output} — fix: name a file that ends in {', '.join(_SUFFIXES)}, or - for JSON"
        )
    # Records from elsewhere need no configuration; the broker's own are found by it.
    settings, roots = None, list(sources)
    if not sources or os.access(config, os.R_OK):
        settings = settings_of(config)
        roots = roots or [settings.audit.directory]
    else:
        click.echo(f"note: {config} cannot be read: what only the configuration shows is not covered", err=True)
    keys = read_jwks(jwks) if jwks else (own_keys(settings) if settings else None)
    period = tuple(moment.replace(tzinfo=UTC) if moment else None for moment in (since, until))
    log = _counted(roots, *period)
    facts = Facts(
        as_of=period[1] or (datetime.fromisoformat(log.last) if log.last else _today()),
        since=period[0],
        log=log,
        setup=assembled.setup(settings) if settings else None,
        verified=_verified(roots, keys),
        keys=tuple(_key_ages(assembled, settings)),
        restored=_verified([restored], keys) if restored else None,
    )
    _write(make(standard, facts), output)


def _key_ages(assembled: Assembled, settings: Settings | None) -> Sequence[Any]:
    try:
        return assembled.key_ages(settings) if settings else ()
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(EXIT_CONFIG)


def _counted(roots: Sequence[Path], since: datetime | None, until: datetime | None) -> Log:
    statistics = Statistics(since=since, until=until)
    try:
        for chain in chains_of(roots):
            for path in chain:
                statistics.add_all(lines(path))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror} — fix: name record files or the audit directory, readable to you")
    return statistics.log


def _verified(roots: Sequence[Path], keys: Mapping[str, Any] | None) -> Verified | None:
    if keys is None:
        return None
    try:
        report = verify(roots, jwks=keys)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror} — fix: name record files or the audit directory, readable to you")
    except ValueError as error:
        fail(f"--jwks: {error} — run: curl -o jwks.json https://BROKER/.well-known/jwks.json")
    return Verified(report.records, report.checkpoints, tuple(str(finding) for finding in report.findings))


def _write(report: Report, output: Path) -> None:
    if output.suffix == ".pdf":
        try:
            from broker.reports.pdf import as_pdf  # noqa: PLC0415  # an extra, and slow to import
        except ModuleNotFoundError as error:
            fail(
                f"{output}: no PDF without {error.name} — run: pip install 'zerotrust-kerberos-link[report]'; or write .html"
            )
        content = as_pdf(report)
    elif output.suffix == ".html":
        from broker.reports.html import as_html  # noqa: PLC0415  # the template engine

        content = as_html(report)
    else:
        content = json.dumps(report.members(), indent=2, ensure_ascii=False).encode() + b"\n"
    if str(output) == "-":
        sys.stdout.buffer.write(content)
        return
    try:
        # It names people: nobody else on this host need read it.
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        fail(f"{output}: {error.strerror} — fix: name a file that you may write")
    counts = ", ".join(f"{number} {verdict}" for verdict, number in report.verdicts)
    click.echo(f"{output}: {report.title}: {counts}", err=True)


def _today() -> datetime:
    return SystemClock().now().replace(hour=0, minute=0, second=0, microsecond=0)
