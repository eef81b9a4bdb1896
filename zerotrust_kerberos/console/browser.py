"""The user's browser: which program opens a page, and opening one with it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACE = "%s"
# Without one of them there is no screen here, and xdg-open would take a browser for text.
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
_OPENER = "xdg-open"


def find(environ: Mapping[str, str]) -> list[str]:
    """The command line of ``BROWSER`` (commands between colons, of which the first that is there counts), or of the desktop.

    Raises:
        Failure: ``no_browser``.
    """
    named = [shlex.split(part) for part in environ.get("BROWSER", "").split(os.pathsep) if part.strip()]
    if not named and any(environ.get(screen) for screen in _SCREENS):
        named = [[_OPENER]]
    for words in named:
        if shutil.which(words[0]) is not None:
            return words if any(_PLACE in word for word in words) else [*words, _PLACE]
    raise Failure("no_browser", "BROWSER names none" if environ.get("BROWSER") else "no screen, and BROWSER names none")


def start(program: Sequence[str], address: str) -> None:
    """Open a page, and go on. It outlives us and our terminal, and says nothing on it.

    Raises:
        Failure: ``no_browser``.
    """
    words = [word.replace(_PLACE, address) for word in program]
    nothing = subprocess.DEVNULL
    try:
        subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)  # noqa: S603
    except OSError as error:
        raise Failure("no_browser", f"{words[0]}: {error.strerror}") from error
