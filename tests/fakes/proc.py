"""What /proc shows of a running broker. It is undumpable, so that only root may look: whoever runs the tests asks sudo."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def _command(*words: str) -> bytes:
    command = words if os.geteuid() == 0 else ("sudo", "-n", *words)
    return subprocess.run(command, capture_output=True, check=True).stdout


def descriptors(pid: int | None) -> int:
    """How many files it has open."""
    return len(_command("ls", "-1", f"/proc/{pid}/fd").split())


def sockets(pid: int | None) -> int:
    """How many of them are sockets. Files come and go by themselves: the vault's are opened when it is first looked at."""
    # 1: one of them was closed while ls(1) looked at it.
    return _command("sh", "-c", f"ls -l /proc/{pid}/fd || [ $? = 1 ]").count(b"socket:[")


def shown(pid: int | None, name: str) -> bytes:
    """The contents of ``/proc/PID/NAME``."""
    return _command("cat", f"/proc/{pid}/{name}")


def core(pid: int | None, folder: Path) -> bytes:
    """A core file of the running process, as a debugger of root's makes it."""
    _command("gcore", "-o", str(folder / "core"), str(pid))
    return _command("cat", str(folder / f"core.{pid}"))
