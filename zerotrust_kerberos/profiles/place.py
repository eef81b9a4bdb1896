"""The file itself: found where the AWS tools look, read as bytes, replaced in one rename, never half-written.

A link is followed and stays a link (dotfiles in a repository); the file behind it keeps its mode. Two at a time wait for each
other at the folder, so no lock file is left over; programs that know of no lock are noticed before anything is replaced.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shlex
import stat
from pathlib import Path

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NEW_FILE, _NEW_FOLDER = 0o600, 0o700  # as the AWS CLI makes them
_BACKUP = ".before-zerotrust"


def config_path(environ: Mapping[str, str]) -> Path:
    """``AWS_CONFIG_FILE``, or ``~/.aws/config``."""
    return _path(environ, "AWS_CONFIG_FILE", ".aws/config")


def credentials_path(environ: Mapping[str, str]) -> Path:
    """``AWS_SHARED_CREDENTIALS_FILE``, or ``~/.aws/credentials``."""
    return _path(environ, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")


def below_home(environ: Mapping[str, str], variable: str, name: str) -> Path:
    """Another tool's file."""
    return _path(environ, variable, name)


def _path(environ: Mapping[str, str], variable: str, name: str) -> Path:
    if given := environ.get(variable):
        return Path(os.path.expandvars(given)).expanduser()  # as botocore does
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise Failure(
            "configuration",
            f"HOME is not set, nor is {variable}",
            fix='export HOME="$(getent passwd "$(id -u)" | cut -d: -f6)"',
        )
    return Path(home) / name


def read(path: Path) -> str:
    """The text of a file, every byte of it; no file, no text.

    Raises:
        Failure: ``configuration``.
    """
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Failure("configuration", f"{path}: {error.strerror}", fix=f"ls -l {shlex.quote(str(path))}") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else of us changes files of this folder meanwhile. The folder is made where there is none.

    Raises:
        Failure: ``configuration``.
    """
    folder = path.resolve().parent
    try:
        folder.mkdir(mode=_NEW_FOLDER, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(
            "configuration", f"{folder}: {error.strerror}", fix=f"ls -ld {shlex.quote(str(folder))}"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace(path: Path, *, old: str, new: str) -> Path | None:
    """Put ``new`` where ``old`` stands; returns where ``old`` is kept, None if there was no file.

    Raises:
        Failure: ``configuration``: the file is not ours to change, or has changed meanwhile, or cannot be written.
    """
    real = path.resolve()
    try:
        before = real.stat() if real.exists() else None
        _refuse_foreign_folder(real.parent)
        mode = _NEW_FILE
        if before is not None:
            _refuse_foreign(real, before)
            mode = stat.S_IMODE(before.st_mode)
        backup = None
        if before is not None:
            backup = real.with_name(real.name + _BACKUP)
            _write(backup, old, mode)
        if read(real) != old:
            raise Failure(
                "configuration", f"{real} was changed by another program meanwhile", fix="zerotrust configure --write"
            )
        _write(real, new, mode)
    except OSError as error:
        fix = f"ls -ld {shlex.join([str(real), str(real.parent)])}"
        raise Failure("configuration", f"{real}: {error.strerror}", fix=fix) from error
    return backup


def _refuse_foreign(real: Path, found: os.stat_result) -> None:
    """A file of somebody else would become ours by the rename, and root's by sudo: its owner could change it no more."""
    if not stat.S_ISREG(found.st_mode):
        raise Failure("configuration", f"{real} is no file", fix=f"ls -ld {shlex.quote(str(real))}")
    if found.st_uid != os.geteuid():
        raise _anothers(real, found.st_uid)


def _refuse_foreign_folder(folder: Path) -> None:
    """Whoever owns a folder says where a name in it leads, while we write there: root's files, by sudo."""
    owner = folder.stat().st_uid
    if owner not in {0, os.geteuid()}:
        raise _anothers(folder, owner)


def _anothers(path: Path, owner: int) -> Failure:
    fix = f"sudo -u '#{owner}' zerotrust configure --write"
    return Failure("configuration", f"{path} belongs to uid {owner}", fix=fix)


def _write(path: Path, text: str, mode: int) -> None:
    """All of it or nothing of it, on the disk when this returns."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _NEW_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
