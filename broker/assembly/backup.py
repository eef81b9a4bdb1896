"""The vault into a file and back, or sealed anew, as a program of its own: over the broker's store, beside it or without it.

Each of the four is recorded beside the broker's own records; a backup that cannot be recorded is not there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from broker.admin.assembled import VaultFile, VaultFileProblem, VaultSealed
from broker.assembly.audit import audit_log
from broker.assembly.hsm import signing_key_of
from broker.assembly.keys import keys_of
from broker.assembly.master import master_of
from broker.assembly.vault import vault_of
from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.config.encryption import key_of_file
from broker.config.model import Settings
from broker.config.values import key_bytes
from broker.core.clock import Clock, SystemClock
from broker.core.errors import AuditUnavailable, ConfigurationError, KeysUnavailable
from broker.core.stable_file import sync_directory
from broker.keys.master.local import LocalMaster
from broker.keys.master.port import MasterKey, MasterUnavailable
from broker.keys.replica import KeysFailed
from broker.remote.failure import RemoteFailure
from broker.secrets.backup import Damaged, Foreign, NotEmpty, back_up, restore, verify
from broker.secrets.rewrap import Rewrapped
from broker.secrets.vault import Vault

_T = TypeVar("_T")

_FILE_MODE = 0o600
_PROVIDER = "secrets.provider"
_VAULT = Path("vault")


class VaultFiles:
    """What ``zerotrust-admin secrets backup``, ``restore``, ``verify-backup`` and ``rewrap`` do. Raises VaultFileProblem."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    def back_up(self, settings: Settings, file: Path, *, recovery: Path | None) -> VaultFile:
        """Write a file that is not there yet, for its owner alone."""
        if file.exists():
            raise VaultFileProblem(f"{file} is there already — fix: name a new file, with the date in it")

        async def work(log: AuditLog, vault: Vault) -> VaultFile:
            new = file.with_name(f"{file.name}.new")
            new.unlink(missing_ok=True)
            try:
                with _created(new) as out:
                    masters = _masters_of(settings, recovery)
                    made = await back_up(vault, out, masters=masters, made=self._clock.now())
                    out.flush()
                    os.fsync(out.fileno())
                await log.record(_event("backup", file, Kind.BACKED_UP, secrets=made.secrets, versions=made.versions))
                new.rename(file)
                sync_directory(file.parent)
            finally:
                new.unlink(missing_ok=True)
            return VaultFile(made.made, made.secrets, made.versions)

        return self._run(settings, file, work)

    def restore(self, settings: Settings, file: Path, *, recovery: Path | None, merge: bool) -> VaultFile:
        """Look through the whole file, then bring back what is not there."""

        async def work(log: AuditLog, vault: Vault) -> VaultFile:
            masters = _masters_of(settings, recovery)
            with file.open("rb") as source:
                found = await verify(source, masters=masters)
                source.seek(0)
                done = await restore(vault, source, masters=masters, merge=merge)
            event = _event("restore", file, Kind.BROUGHT_BACK, secrets=done.secrets, versions=done.versions)
            await log.record(event)
            return VaultFile(found.made, done.secrets, done.versions, tuple(done.kept))

        return self._run(settings, file, work)

    def verify(self, settings: Settings, file: Path, *, recovery: Path | None) -> VaultFile:
        """Read all of it as a restore would; the record is the evidence that it was tried."""

        async def work(log: AuditLog, _: Vault) -> VaultFile:
            try:
                with file.open("rb") as source:
                    found = await verify(source, masters=_masters_of(settings, recovery))
            except (Damaged, Foreign) as error:
                event = _event("verify_backup", file, Kind.BACKUP_BAD)
                event.refused("damaged" if isinstance(error, Damaged) else "no_key")
                await log.note(event)
                raise
            event = _event("verify_backup", file, Kind.BACKUP_GOOD, secrets=found.secrets, versions=found.versions)
            event.details["made"] = found.made.isoformat()
            await log.record(event)
            return VaultFile(found.made, found.secrets, found.versions)

        return self._run(settings, file, work)

    def rewrap(self, settings: Settings, *, tell: Callable[[VaultSealed], None]) -> VaultSealed:
        """Seal anew what older keys sealed; what was done is on record also where it is broken off."""
        if settings.secrets.provider != "integrated":
            what = f"{_PROVIDER} is {settings.secrets.provider}, and nothing lies in the integrated vault"
            raise VaultFileProblem(f"{what} — fix: rewrap is for the integrated one, or name --kubernetes or --file")
        done = VaultSealed()

        def heard(found: Rewrapped) -> None:
            nonlocal done
            done = VaultSealed(found.seen, found.renewed, found.broken)
            tell(done)

        async def work(log: AuditLog, vault: Vault) -> VaultSealed:
            is_whole = False
            try:
                heard(await vault.rewrap(tell=heard))
                is_whole = True
            finally:
                event = _event(
                    "rewrap", _VAULT, Kind.REWRAPPED, seen=done.seen, renewed=done.renewed, broken=done.broken
                )
                event.details["is_whole"] = is_whole
                await log.record(event)
            return done

        return self._run(settings, _VAULT, work)

    def _run(self, settings: Settings, file: Path, work: Callable[[AuditLog, Vault], Awaitable[_T]]) -> _T:
        try:
            return asyncio.run(self._done(settings, work))
        except Damaged as error:
            raise VaultFileProblem(f"{file}: {error} — fix: take another copy") from error
        except Foreign as error:
            fix = "configure the key of that time (encryption), or give --recovery-key"
            raise VaultFileProblem(f"{file}: no key that is here opens it — fix: {fix}") from error
        except NotEmpty as error:
            fix = "--merge brings back what is missing and leaves the rest as it is"
            raise VaultFileProblem(f"the vault has secrets already; nothing was changed — fix: {fix}") from error
        except OSError as error:
            raise VaultFileProblem(f"{error.filename or file}: {error.strerror}") from error
        except AuditUnavailable as error:
            raise VaultFileProblem(f"it cannot be recorded ({error.reason}) — fix: see `audit verify`") from error
        except ConfigurationError as error:
            raise VaultFileProblem(str(error)) from error
        except (RemoteFailure, KeysFailed, KeysUnavailable, MasterUnavailable) as error:
            raise VaultFileProblem(str(error)) from error

    async def _done(self, settings: Settings, work: Callable[[AuditLog, Vault], Awaitable[_T]]) -> _T:
        _require_the_brokers_account(settings.audit.directory)
        # On an empty machine there are no keys yet: what is restored is sealed with those that the broker will have.
        keys, hsm = await keys_of(settings, clock=self._clock), signing_key_of(settings.encryption.hsm)
        hierarchy = keys.hierarchy
        log = audit_log(settings, hierarchy=hierarchy, hsm=hsm, clock=self._clock, observers=[])
        vault = vault_of(settings, hierarchy=hierarchy, clock=self._clock)
        await log.open()
        try:
            return await work(log, vault)
        finally:
            await vault.close()
            await log.close()
            await keys.close()
            if hsm is not None:
                hsm.close()


def _masters_of(settings: Settings, recovery: Path | None) -> Sequence[MasterKey]:
    """The broker's own master key, and the recovery key where one is named: each alone opens the file."""
    own = master_of(settings, clock=SystemClock()).key
    if recovery is None:
        return [own]
    try:
        return [own, LocalMaster(keys=[key_bytes(key_of_file(str(recovery)))])]
    except ValueError as error:
        raise VaultFileProblem(f"{recovery}: {error}") from None


def _event(action: str, file: Path, kind: Kind, **counts: int) -> Event:
    """By the account that runs this; the host's own log knows who that was."""
    event = Event(action=action, resource=file.name, failing=kind, details={"uid": os.getuid(), **counts})
    event.done(kind)
    return event


def _created(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, _FILE_MODE), "wb")


def _require_the_brokers_account(directory: Path) -> None:
    """Files of another account would lock the broker out of its own records and its own vault."""
    try:
        owner = directory.stat().st_uid
    except FileNotFoundError:
        raise VaultFileProblem(
            f"{directory} is not there, where it is recorded — fix: install -d -m 700 -o ACCOUNT {directory}, "
            "with the broker's account"
        ) from None
    if owner != os.geteuid():
        raise VaultFileProblem(
            f"{directory} belongs to user id {owner} — fix: run it as that account: sudo -u '#{owner}' zerotrust-admin ..."
        )
