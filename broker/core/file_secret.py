"""A secret that stands in a private file, where whoever rotates it puts the next one while the broker runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Self

from broker.core.private_file import PermissionProblem, read_private
from broker.core.secret import Secret, SecretAtRest

# Bytes. A password, a key or a token; a chained session token has about 2 KiB.
SECRET_FILE_MAX = 64 * 1024

_log = logging.getLogger(__name__)


class FileText(str):
    """What a private file held, and which one: for the way from the file to a ``FileSecret``."""

    __slots__ = ("file",)
    file: Path

    @classmethod
    def read(cls, file: Path) -> Self:
        """The file's text, without the newline that ``echo`` leaves at its end.

        Raises:
            PermissionProblem: It cannot be used.
            UnicodeDecodeError: It is no text.
        """
        text = cls(read_private(file, limit=SECRET_FILE_MAX).decode().removesuffix("\n").removesuffix("\r"))
        text.file = file
        return text


class FileSecret(SecretAtRest):
    """A ``Secret`` that knows its file."""

    __slots__ = ("_file",)

    def __init__(self, text: FileText) -> None:
        super().__init__(str(text))
        self._file = text.file

    def now(self) -> Secret:
        """What the file holds now; this one where it cannot be used."""
        try:
            text = FileText.read(self._file)
        except (PermissionProblem, UnicodeDecodeError):
            text = None
        if text:
            return FileSecret(text)
        _log.warning("%s cannot be used; going on with what it held before", self._file)
        return self


def secret_of(text: str) -> Secret:
    """The secret that a text is."""
    return FileSecret(text) if isinstance(text, FileText) else SecretAtRest(text)


def current(secret: Secret) -> Secret:
    """What it is now: read anew where it stands in a file. To be asked where somebody refuses what it was."""
    return secret.now() if isinstance(secret, FileSecret) else secret
