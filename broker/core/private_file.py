"""Files that only their owner may touch: keytabs, private keys, secrets, the configuration.

What is judged is the open descriptor, never the name, so nothing can be exchanged between the check and the reading. The
owner must be root or ourselves; others have no access; the group may at most read, and only what root owns (so that a
service account can be given one file: ``root:zerotrust 0640``).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_GROUP_WRITE_OR_OTHERS = stat.S_IWGRP | stat.S_IRWXO
_GROUP = stat.S_IRWXG


class PermissionProblem(ValueError):
    """The file must not be used. ``what`` continues the path's name, ``fix`` says what to do."""

    def __init__(self, path: Path, what: str, fix: str) -> None:
        super().__init__(f"{path} {what} — fix: {fix}")
        self.path = path
        self.what = what
        self.fix = fix


def open_private(path: Path) -> BinaryIO:
    """Open a regular file that nobody else can read or change.

    Returns:
        The file, open for reading; the caller closes it.

    Raises:
        PermissionProblem: Missing, unreadable, a symbolic link, not a regular file, of a foreign owner, or open to others.
    """
    descriptor = _open(path)
    try:
        _judge(path, os.fstat(descriptor), folder=False, uid=os.geteuid())
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_private(path: Path, *, limit: int) -> bytes:
    """The content of a private file of at most ``limit`` bytes.

    Raises:
        PermissionProblem: As for ``open_private()``, or the file is longer than ``limit``.
    """
    with open_private(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise PermissionProblem(path, f"is longer than {limit} bytes", "name the right file")
    return content


def private_files(path: Path) -> list[Path]:
    """The files that ``path`` stands for: itself, or what a private folder holds, but hidden files and READMEs; sorted.

    The files themselves are not judged yet; ``open_private()`` does that.

    Raises:
        PermissionProblem: ``path`` cannot be opened, or is a folder that is open to others.
    """
    descriptor = _open(path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISDIR(status.st_mode):
            return [path]
        _judge(path, status, folder=True, uid=os.geteuid())
        names = os.listdir(descriptor)  # noqa: PTH208  # the folder that was judged, not its name
    finally:
        os.close(descriptor)
    return [path / name for name in sorted(names) if not name.startswith((".", "README"))]


def _open(path: Path) -> int:
    # O_NONBLOCK: a FIFO in the file's place must not hang the start.
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise PermissionProblem(path, "does not exist", "create it, or correct the path") from None
    except ValueError:  # a NUL, or half a character
        raise PermissionProblem(path, "is not a possible name of a file", "correct the path") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            what, fix = "is a symbolic link", "name the file itself"
        else:
            what = f"cannot be opened ({os.strerror(error.errno or 0)})"
            fix = "let the account of the broker read it"
        raise PermissionProblem(path, what, fix) from error


def _judge(path: Path, status: os.stat_result, *, folder: bool, uid: int) -> None:
    mode, owner = stat.S_IMODE(status.st_mode), status.st_uid
    kind = "folder" if folder else "regular file"
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(status.st_mode):
        raise PermissionProblem(path, f"is not a {kind}", f"name a {kind}")
    if owner not in (0, uid):
        what = f"belongs to user id {owner}, neither root nor the broker's account"
        raise PermissionProblem(path, what, f"chown {uid} {path}")
    if mode & _GROUP_WRITE_OR_OTHERS or (mode & _GROUP and owner != 0):
        # Root's is read through its group, by an account that 600 would shut out.
        mode_that_does = "g-w,o=" if owner == 0 else "700" if folder else "600"
        fix = f"chmod {mode_that_does} {path}"
        raise PermissionProblem(path, f"has mode {mode:04o}, open to others", fix)
