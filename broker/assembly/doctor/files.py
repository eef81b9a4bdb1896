"""Who looks, whether the configuration would start, and who can get at the broker's files."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel

from broker.admin.finding import Finding, bad, ok, unseen, warn
from broker.assembly.check import check
from broker.assembly.doctor.patient import Patient
from broker.config.values import UnixListener
from broker.core.errors import ConfigurationError, ConfigurationUnavailable

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_ROOT = 0


def account(patient: Patient) -> Iterator[Finding]:
    """As whom this is looked at; what root may, the broker may not."""
    who = _name(patient.uid)
    unit = patient.unit
    wanted = unit.last("User") if unit else ""
    if patient.uid == _ROOT and wanted and unit and unit.account is None:
        fix = "systemd-sysusers; zerotrust-admin doctor"
        yield bad("account_missing", f"{unit.name} runs as {wanted}, and there is no such account", fix)
    elif patient.uid == _ROOT:
        what = "looks as root, because no unit says who the broker is: root is let in where the broker is not"
        yield warn("not_the_broker", what, "sudo -u zerotrust zerotrust-admin doctor")
    elif wanted and wanted != who:
        what = f"looks as {who}, and the broker is {wanted}: files are judged as if it were {who}"
        yield warn("not_the_broker", what, f"sudo -u {wanted} zerotrust-admin doctor")
    else:
        yield ok(f"looks as {who}")


def configuration(patient: Patient) -> Iterator[Finding]:
    """What ``zerotrust-broker check-config`` says."""
    loaded = patient.loaded
    if isinstance(loaded, ConfigurationUnavailable):
        fix = f"zerotrust-broker check-config --config {patient.config}"
        yield from (bad("config_unavailable", problem, fix) for problem in loaded.problems)
        return
    try:
        if isinstance(loaded, ConfigurationError):
            raise loaded
        checked = check(loaded, hierarchy=None)
    except ConfigurationError as error:
        for problem in error.problems:
            what, _, fix = problem.rpartition(" — fix: ")
            yield bad("config_invalid", what or problem, fix)
        return
    yield ok(f"{patient.config}: {len(checked.policies.current.roles)} roles, {len(loaded.rules)} rules")


def permissions(patient: Patient) -> Iterator[Finding]:
    """Folders on the way to each file: who writes to one of them puts a file of their own in the place of ours.

    The files themselves are judged when they are read: what is wrong with one is a fault of the configuration.
    """
    settings = patient.settings
    wanted = {patient.config, *paths_of(settings), *patient.secret_files}
    wanted |= {listener.path for listener in settings.listeners if isinstance(listener, UnixListener)}
    faults = []
    for folder in sorted({parent for path in wanted for parent in path.absolute().parents}):
        faults += list(_folder(folder, patient.uid))
    for folder in sorted({settings.audit.directory, settings.state_directory}):
        faults += list(_own_folder(folder, patient.uid))
    yield from faults or [ok(f"{len(wanted)} files, and no way to them through a folder of somebody else")]


def paths_of(value: object) -> Iterator[Path]:
    """Every path that a configuration names."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from paths_of(getattr(value, name))
    elif isinstance(value, dict):
        yield from paths_of(tuple(value.values()))
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for one in value:
            yield from paths_of(one)


def _folder(folder: Path, uid: int) -> Iterator[Finding]:
    try:
        status = folder.stat()
    except OSError:
        return
    mode, owner = stat.S_IMODE(status.st_mode), status.st_uid
    if owner not in (_ROOT, uid):
        what = f"{folder} belongs to {_name(owner)}, who can put anything in the place of what is in it"
        yield bad("folder_foreign", what, f"ls -ld {folder}; chown root {folder}")
    elif mode & _WRITABLE_BY_OTHERS and not mode & stat.S_ISVTX:
        what = f"{folder} has mode {mode:04o}: others can put anything in the place of what is in it"
        yield bad("folder_open", what, f"chmod go-w {folder}")


def _own_folder(folder: Path, uid: int) -> Iterator[Finding]:
    """Where the broker writes."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        yield warn("folder_missing", f"{folder} is not there yet: the first start makes it", f"ls -ld {folder.parent}")
        return
    except OSError as error:
        yield unseen(f"{folder} cannot be looked at ({error.strerror})", f"ls -ld {folder}")
        return
    mode, owner = stat.S_IMODE(status.st_mode), status.st_uid
    if owner != uid:
        what = f"{folder} belongs to {_name(owner)}, not to {_name(uid)}"
        yield warn("folder_of_another", what, f"sudo -u {_name(owner)} zerotrust-admin doctor")
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield bad("folder_read_only", f"{folder} cannot be written to", f"chmod u+wx {folder}; findmnt -T {folder}")
    elif mode & (_WRITABLE_BY_OTHERS | stat.S_IRWXO):
        what = f"{folder} has mode {mode:04o}: others than the broker's group get in"
        yield bad("folder_open", what, f"chmod o=,g-w {folder}")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
