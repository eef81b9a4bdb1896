"""Names of roles and scopes for TAB: from a small file, asked from the broker once in a while and never for long.

Completion must not block a shell, prompt, or wait for a network that is away. So the broker is asked by a process of its own,
which is ended after a moment; and after that, answered or not, not again for a while. The file holds names and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Seconds. A role that was given this morning shows by itself; a shell waits at most once in that time.
_FRESH = 600.0
# After nobody answered.
_AGAIN = 60.0
# Of which the broker gets most. Nobody takes a shell that hangs for longer for one that works.
_PATIENCE = 0.9
_TIMEOUT = 0.7

_NAME_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_")
_NAME_LENGTH_MAX = 64
_FILE_MAX = 1024 * 1024  # bytes


def roles() -> list[str]:
    """The names of the roles that the caller may have, as far as known."""
    return list(_known())


def remembered() -> list[str]:
    """Those of the last time, however long ago; nobody is asked."""
    file = _file()
    return [] if file is None else list(_parsed(_kept(file)[0]))


def scopes(role: str) -> list[str]:
    """The names of a role's scopes; of all roles' where none is named."""
    known = _known()
    found = known.get(role, []) if role else [scope for each in known.values() for scope in each]
    return list(dict.fromkeys(found))


def _known() -> dict[str, list[str]]:
    """Scopes by role."""
    file = _file()
    if file is None:
        return _parsed(_asked() or "")
    kept, age = _kept(file)
    if age > _FRESH:
        asked = _asked()
        # Who did not answer is not asked at the next TAB, and what was known stays.
        _keep(file, kept if asked is None else asked, until=_AGAIN if asked is None else _FRESH)
        kept = kept if asked is None else asked
    return _parsed(kept)


def _parsed(text: str) -> dict[str, list[str]]:
    """Of lines ``role TAB scope,scope``. What is no name is left out: it would be typed into a shell."""
    found = {}
    for line in text.splitlines():
        role, _, listed = line.partition("\t")
        if _is_name(role):
            found[role] = [scope for scope in listed.split(",") if _is_name(scope)]
    return found


def _is_name(word: str) -> bool:
    return 0 < len(word) <= _NAME_LENGTH_MAX and _NAME_CHARS.issuperset(word) and not word.startswith("-")


def _asked() -> str | None:
    """The broker's answer, or None: no settings, no ticket, no broker, no time. It prompts for nothing."""
    command = [sys.executable, "-I", "-c", _SCRIPT, str(Path(__file__).parents[2]), "roles", "--timeout", str(_TIMEOUT)]
    try:
        done = subprocess.run(  # noqa: S603  our own program
            [*command, "--format", "tsv"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    lines = (line.split("\t") for line in done.stdout.decode("utf-8", "replace").splitlines())
    return "\n".join(f"{cells[_ROLE]}\t{cells[_SCOPES]}" for cells in lines if len(cells) > _SCOPES)


# As the program itself is started, wherever it lies; of our columns, those that are kept.
_SCRIPT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from zerotrust_kerberos.cli import main; main()"
_ROLE, _SCOPES = 0, 4


def _file() -> Path | None:
    """Where names are kept: a file for each broker and each place of tickets. None where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # XDG Base Directory Specification: to be ignored
        home = os.environ.get("HOME", "")
        if not home.startswith("/"):
            return None
        base = f"{home}/.cache"
    whose = [os.environ.get(name, "") for name in ("ZEROTRUST_BROKER_URL", "KRB5CCNAME", "XDG_CONFIG_HOME")]
    return Path(base, "zerotrust", f"roles-{hashlib.sha256(chr(0).join(whose).encode()).hexdigest()[:16]}")


def _kept(file: Path) -> tuple[str, float]:
    """What is kept, and how old it is in seconds."""
    try:
        with file.open("rb") as opened:
            # Of whom else it might be: nobody types what another user wrote.
            if os.fstat(opened.fileno()).st_uid != os.geteuid():
                return "", float("inf")
            age = time.time() - os.fstat(opened.fileno()).st_mtime
            return opened.read(_FILE_MAX).decode("utf-8", "replace"), age if age >= 0 else float("inf")
    except OSError:
        return "", float("inf")


def _keep(file: Path, text: str, *, until: float) -> None:
    """Write it down, to be taken for fresh for ``until`` seconds. A disk that is full keeps nobody from typing."""
    written = time.time() - _FRESH + until
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".")
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
        os.utime(name, (written, written))
        Path(name).replace(file)
