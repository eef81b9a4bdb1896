"""A folder of this user alone, with the token of an endpoint in it, for as long as the endpoint lives.

It lies where the system keeps what lasts for a login (XDG_RUNTIME_DIR, in memory); where there is none, in the folder for
temporary files. What a killed endpoint left behind opens nothing, and is removed by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Mapping

_BEGINNING = "zerotrust-"
_RANDOM_BYTES = 8
# What a folder of ours is called; whatever else begins so is somebody's work.
_NAME = re.compile(f"{_BEGINNING}[0-9a-f]{{{2 * _RANDOM_BYTES}}}")
TOKEN = "token"  # noqa: S105  a file's name
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """One folder, 0700, locked while it is in use."""

    def __init__(self, base: str) -> None:
        """Make it. Raises OSError."""
        self.path = f"{base}/{_BEGINNING}{os.urandom(_RANDOM_BYTES).hex()}"
        os.mkdir(self.path, 0o700)  # noqa: PTH102  fails where anything is there, a link too
        self._descriptor = os.open(self.path, _OPEN)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def put(self, name: str, text: str) -> str:
        """Write a file; its path. No line feed behind a token: botocore takes it for a part of the header."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        data = text.encode("utf-8", "surrogateescape")
        descriptor = os.open(name, flags, 0o600, dir_fd=self._descriptor)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError("a file could not be written whole")
        finally:
            os.close(descriptor)
        return f"{self.path}/{name}"

    def remove(self) -> None:
        """And all that is in it; once is enough."""
        _emptied(self._descriptor, self.path)


def base(environ: Mapping[str, str]) -> str:
    """Where such a folder belongs."""
    for place in (environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{os.geteuid()}"):
        if place.startswith("/") and _is_ours(place):
            return place
    temporary = environ.get("TMPDIR", "")
    return temporary if temporary.startswith("/") else "/tmp"  # noqa: S108  mkdir() takes no name that is there


def sweep(place: str) -> None:
    """Remove what killed endpoints of this user left."""
    with contextlib.suppress(OSError):
        for name in os.listdir(place):  # noqa: PTH208
            if _NAME.fullmatch(name):
                _swept(f"{place}/{name}")


def _swept(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, _OPEN)
        try:
            # An empty one may be about to be locked and filled.
            if os.fstat(descriptor).st_uid == os.geteuid() and TOKEN in os.listdir(descriptor):  # noqa: PTH208
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _emptied(descriptor, path)
        finally:
            os.close(descriptor)


def _emptied(folder: int, path: str) -> None:
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)
    with contextlib.suppress(OSError):
        os.rmdir(path)  # noqa: PTH106


def _is_ours(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
