"""What is wrong with something, in words, and with a code that machines compare."""

from __future__ import annotations

import errno
import re
from typing import Self

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Between the words of a name such as BusyLoadingError.
_SEAM = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
UNAVAILABLE = "unavailable"

_OF_ERRNO = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EROFS: "disk_read_only",
    errno.EIO: "disk_error",
    errno.EMFILE: "descriptors_exhausted",
    errno.ENFILE: "descriptors_exhausted",
}


class Fault(str):
    """The words; ``code`` is snake_case and one of a few."""

    __slots__ = ("code",)
    code: str

    def __new__(cls, words: str, *, code: str) -> Self:
        """A text that is more than its words."""
        made = super().__new__(cls, words)
        made.code = code
        return made


def of_error(error: OSError) -> Fault:
    """What an error of the disk or the kernel means."""
    return Fault(str(error), code=_OF_ERRNO.get(error.errno or 0, UNAVAILABLE))


def code_of(words: str) -> str:
    """A fault's own; else the words, where they are one word, such as the name of an exception; else ``unavailable``."""
    if isinstance(words, Fault):
        return words.code
    if not _WORD.fullmatch(words):
        return UNAVAILABLE
    return _SEAM.sub("_", words.removesuffix("Error")).lower() or UNAVAILABLE
