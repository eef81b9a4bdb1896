"""``zerotrust-broker``: serve, check-config, health, config-schema, version; and the way into ``zerotrust-admin``."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from broker import __version__
from broker.core.errors import ConfigurationError, ConfigurationUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.admin.assembled import Documents, TransitAccess, VaultFiles
    from broker.admin.finding import Finding as HostFinding
    from broker.config.model import Settings
    from broker.config.resolve import Resolver
    from broker.reports.facts import KeyAge, Setup
    from broker.trust.finding import Finding

# sysexits.h EX_CONFIG; systemd knows it and does not restart on it (RestartPreventExitStatus).
EXIT_CONFIG = 78
EXIT_FAILURE = 1
# sysexits.h EX_TEMPFAIL: a vault that the configuration names does not answer; systemd starts again.
EXIT_UNAVAILABLE = 75

_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("/etc/zerotrust/config.yaml"),
    show_default=True,
    envvar="ZEROTRUST_CONFIG",
    help="The configuration file.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Turns Kerberos tickets into one-hour AWS credentials."""


@main.command()
@_config
def serve(config: Path) -> None:
    """Run until SIGTERM."""
    # A fifth of the start is the collector walking through what imports make and keep; it goes on when we are ready.
    gc.disable()
    from broker.daemon import journal  # noqa: PLC0415  # the other commands start without it

    logging.basicConfig(level=logging.INFO, handlers=[journal.handler(os.environ)])
    # It says of each repetition that there is one, and not of what; what comes of them all is said by us, once.
    logging.getLogger("stamina").setLevel(logging.ERROR)
    import uvloop  # noqa: PLC0415

    from broker.assembly.broker import assemble  # noqa: PLC0415
    from broker.assembly.check import check  # noqa: PLC0415
    from broker.assembly.keys import keys_of  # noqa: PLC0415
    from broker.assembly.reload import Source  # noqa: PLC0415
    from broker.assembly.resolver import VaultResolver  # noqa: PLC0415
    from broker.config.load import load  # noqa: PLC0415
    from broker.core.clock import SystemClock  # noqa: PLC0415
    from broker.daemon import run as daemon  # noqa: PLC0415
    from broker.keys import memory  # noqa: PLC0415
    from broker.keys.master.port import MasterRefused, MasterUnavailable  # noqa: PLC0415
    from broker.keys.replica import KeysFailed  # noqa: PLC0415
    from broker.watch.log_cap import LogCap  # noqa: PLC0415

    # Before the next, which takes /proc/self away.
    memory.keep_out_of_swap()
    memory.keep_out_of_core_files()
    clock, environ = SystemClock(), memory.Noted(os.environ)
    for handler in logging.getLogger().handlers:
        handler.addFilter(LogCap(clock=clock))
    try:
        settings = load(config, environ=environ, resolver=VaultResolver())
    except ConfigurationError as error:
        _refuse(error)

    async def run() -> None:
        keys = await keys_of(settings, clock=clock)
        checked = check(settings, hierarchy=keys.hierarchy)
        # What the AWS SDK reads by itself is not looked at here.
        memory.wipe_environment(environ.read | {name for name in environ if name.startswith("AWS_")})
        source = Source(config=config, environ=dict(os.environ))
        broker = assemble(settings, checked, keys=keys, source=source, clock=clock)
        await broker.open()
        await daemon.run(
            broker,
            listeners=settings.listeners,
            tls=checked.tls.context if checked.tls else None,
            background=broker.background,
            environ=os.environ,
        )

    try:
        uvloop.run(run())
    except ConfigurationError as error:
        _refuse(error)
    except MasterRefused as error:
        # A wrong PIN must not be tried by one start after the other until the token locks.
        click.echo(f"cannot serve: the master key: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    except MasterUnavailable as error:
        click.echo(f"cannot serve: the master key: {error}", err=True)
        sys.exit(EXIT_UNAVAILABLE)
    except (OSError, KeysFailed) as error:
        click.echo(f"cannot serve: {error}", err=True)
        sys.exit(EXIT_FAILURE)


@main.command("check-config")
@_config
def check_config(config: Path) -> None:
    """Say whether the broker would start with this configuration, and if not, all that is wrong."""
    from broker.assembly.check import check  # noqa: PLC0415
    from broker.assembly.keys import hierarchy_of  # noqa: PLC0415
    from broker.config.load import load  # noqa: PLC0415

    try:
        settings = load(config, environ=os.environ, resolver=_resolver(None))
        # A master key elsewhere is not asked: it may be away, and a wrong PIN must be tried once, by the start.
        is_here = settings.encryption.master.is_local
        checked = check(settings, hierarchy=hierarchy_of(settings) if is_here else None)
    except ConfigurationError as error:
        _refuse(error)
    hosts = ", ".join(sorted(checked.keys.hosts))
    click.echo(f"{config}: good. Answers for {hosts}; {len(checked.policies.current.roles)} roles.")


@main.command()
@_config
def health(config: Path) -> None:
    """Say whether the broker of this host answers; exit status 1 where it does not. For a container's health check."""
    from broker.admin.alive import NotAlive, ask  # noqa: PLC0415
    from broker.config.listening import listeners  # noqa: PLC0415

    try:
        click.echo(ask(listeners(config, environ=os.environ)))
    except ConfigurationError as error:
        _refuse(error)
    except NotAlive as error:
        click.echo(error, err=True)
        sys.exit(EXIT_FAILURE)


@main.command("config-schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from broker.config.reference import schema  # noqa: PLC0415

    click.echo(json.dumps(schema(), indent=2))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


def admin() -> None:
    """``zerotrust-admin``, with what only the assembly can make for it."""
    from broker.admin.assembled import Assembled  # noqa: PLC0415
    from broker.admin.cli import main as operate  # noqa: PLC0415

    operate(
        obj=Assembled(
            probe=_probe,
            examine=_examine,
            caller=_caller,
            setup=_setup,
            key_ages=_key_ages,
            own_keys=_own_keys,
            resolver=_resolver,
            sealed_value=_sealed_value,
            vault_files=_vault_files,
            documents=_documents,
        )
    )


def _caller(settings: Settings) -> str:
    from broker.assembly.probe import caller  # noqa: PLC0415
    from broker.core.clock import SystemClock  # noqa: PLC0415

    return caller(settings, clock=SystemClock())


def _probe(settings: Settings) -> Sequence[Finding]:
    from broker.assembly.probe import probe  # noqa: PLC0415
    from broker.core.clock import SystemClock  # noqa: PLC0415

    return probe(settings, clock=SystemClock())


def _examine(config: Path, only: Sequence[str], may_assume: bool) -> Iterator[tuple[str, HostFinding]]:  # noqa: FBT001  # see Examine
    from broker.assembly.doctor.examine import examine  # noqa: PLC0415
    from broker.core.clock import SystemClock  # noqa: PLC0415

    return examine(config, only, may_assume=may_assume, clock=SystemClock())


def _setup(settings: Settings) -> Setup:
    from broker.assembly.evidence import setup_of  # noqa: PLC0415

    return setup_of(settings)


def _key_ages(settings: Settings) -> Sequence[KeyAge]:
    from broker.assembly.evidence import key_ages_of  # noqa: PLC0415

    return key_ages_of(settings)


def _own_keys(settings: Settings) -> Mapping[str, Any]:
    from broker.assembly.audit import own_keys  # noqa: PLC0415

    return own_keys(settings)


def _resolver(sections: frozenset[str] | None) -> Resolver:
    from broker.assembly.resolver import VaultResolver  # noqa: PLC0415
    from broker.config.resolve import COMMAND_PATIENCE_SECONDS  # noqa: PLC0415

    return VaultResolver(sections=sections, patience=COMMAND_PATIENCE_SECONDS)


def _sealed_value(settings: Settings, *, key: str, text: str) -> str:
    from broker.assembly.resolver import sealed_value  # noqa: PLC0415

    return sealed_value(settings, key=key, text=text)


def _vault_files() -> VaultFiles:
    from broker.assembly.backup import VaultFiles as Made  # noqa: PLC0415
    from broker.core.clock import SystemClock  # noqa: PLC0415

    return Made(clock=SystemClock())


def _documents(access: TransitAccess) -> Documents:
    from broker.assembly.transit import Documents as OfTransit  # noqa: PLC0415

    return OfTransit(access)


def _refuse(error: ConfigurationError) -> NoReturn:
    for problem in error.problems:
        click.echo(problem, err=True)
    sys.exit(EXIT_UNAVAILABLE if isinstance(error, ConfigurationUnavailable) else EXIT_CONFIG)
