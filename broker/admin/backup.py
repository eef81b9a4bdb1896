"""``zerotrust-admin secrets backup``, ``restore``, ``verify-backup``: the vault in one file, without a broker; ``rewrap``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from broker.admin.assembled import Assembled, VaultFile, VaultFileProblem, VaultSealed
from broker.admin.offline import config_option, fail, settings_of
from broker.core.visible import visible

_Command = TypeVar("_Command", bound=Callable[..., Any])
_T = TypeVar("_T")

_recovery = click.option(
    "--recovery-key",
    "recovery",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A private file with 32 bytes in base64, which opens the backup too: for the day when the master key is gone.",
)


def _on_a_file(command: _Command) -> _Command:
    file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
    return file(_recovery(config_option(command)))


@click.command("backup")
@_on_a_file
@click.pass_obj
def backup(assembled: Assembled, file: Path, recovery: Path | None, config: Path) -> None:
    """Write the whole vault, encrypted, into FILE, also while the broker runs.

    The master key opens it on any machine; keep that elsewhere. What is written meanwhile may be in it or not.
    """
    done = _tried(lambda: assembled.vault_files().back_up(settings_of(config), file, recovery=recovery))
    click.echo(f"{file}: {_counted(done)}. Try it: zerotrust-admin secrets verify-backup {file}")


@click.command("restore")
@click.option(
    "--merge", is_flag=True, help="Into a vault that has secrets: bring what is missing, change nothing else."
)
@_on_a_file
@click.pass_obj
def restore_backup(assembled: Assembled, file: Path, recovery: Path | None, config: Path, *, merge: bool) -> None:
    """Bring back what FILE holds into a vault that is empty.

    FILE is read to its end before anything is changed. Broken off, say it again with --merge.
    """
    done = _tried(lambda: assembled.vault_files().restore(settings_of(config), file, recovery=recovery, merge=merge))
    click.echo(f"Restored from {file}: {_counted(done)}.")
    for path in done.kept:
        click.echo(f"there already, left as it is: {visible(path)}", err=True)


@click.command("verify-backup")
@_on_a_file
@click.pass_obj
def verify_backup(assembled: Assembled, file: Path, recovery: Path | None, config: Path) -> None:
    """Read FILE to its end as a restore would, and record that it was tried, for `compliance-report`."""
    done = _tried(lambda: assembled.vault_files().verify(settings_of(config), file, recovery=recovery))
    click.echo(f"{file}: good, {_counted(done)}.")


def rewrap_vault(assembled: Assembled, config: Path) -> None:
    """Seal anew what older keys sealed, and say so; on a terminal also while it goes on. Ends with 1 where it is not all."""
    done = VaultSealed()

    def tell(found: VaultSealed) -> None:
        nonlocal done
        done = found
        if sys.stderr.isatty():
            click.echo(f"\r{found.seen} looked at, {found.renewed} sealed anew", err=True, nl=False)

    try:
        done = _tried(lambda: assembled.vault_files().rewrap(settings_of(config), tell=tell))
    except KeyboardInterrupt:
        fail(f"broken off: of {done.seen} secrets {done.renewed} were sealed anew — fix: say it again, and it goes on")
    click.echo(f"{done.seen} secrets, {done.renewed} sealed anew with the newest key.")
    if done.broken:
        fail(f"{done.broken} do not open and stay as they are — fix: see the log for which, and restore a backup")


def _tried(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except VaultFileProblem as problem:
        fail(str(problem))


def _counted(done: VaultFile) -> str:
    secrets = "1 secret" if done.secrets == 1 else f"{done.secrets} secrets"
    return f"{secrets} with {done.versions} versions, of {done.made:%Y-%m-%d %H:%M:%S} UTC"
