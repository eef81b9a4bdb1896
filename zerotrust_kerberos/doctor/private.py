"""Files that shall be their owner's alone: a ticket cache, a credentials file."""

from __future__ import annotations

import os
import stat

_OTHERS = 0o077
_PRIVATE = 0o600


def is_open(path: str) -> bool:
    """Whether others can read a file of ours.

    Only what is a file, and our own: ``AWS_SHARED_CREDENTIALS_FILE=/dev/null`` is how people say that they have none, and root
    must not take that from the machine.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  a name, not a path of ours
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and bool(status.st_mode & _OTHERS)


def close(path: str) -> None:
    """Make it private. Raises OSError."""
    os.chmod(path, _PRIVATE)  # noqa: PTH101
