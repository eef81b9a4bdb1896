"""Where and with what the numbers came about: without that they say nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

# Folders of a run go here. The Filesystem Hierarchy Standard keeps it over a restart, so it is a disk: on a tmpfs, which /tmp may
# be, bringing a record to stable storage would cost nothing.
DISK = "/var/tmp"  # noqa: S108  # mkdtemp makes a folder of our own in it
# Packages whose speed is in the numbers.
_PACKAGES = (
    "aiohttp",
    "cryptography",
    "gssapi",
    "hiredis",
    "orjson",
    "prometheus-client",
    "pyjwt",
    "redis",
    "uvloop",
    "zerotrust-kerberos-link",
)
# Runnable processes a core, before we add ours. From about here neighbours show in single rounds.
_BUSY = 0.25


def facts() -> dict[str, object]:
    """Processor, kernel, versions and date, all as they print themselves."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    load = os.getloadavg()[0]
    cores = os.cpu_count() or 1
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cpu": model[1] if model else platform.machine(),
        "cores": cores,
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "python": platform.python_version(),
        "apache": _first_line("apache2", "-v"),
        "curl": _first_line("curl", "--version"),
        "krb5": _first_line("krb5-config", "--version"),
        "packages": {name: version(name) for name in _PACKAGES},
        "load_average_before": load,
        "busy": load / cores > _BUSY,
    }


def _first_line(program: str, argument: str) -> str:
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if path is None:
        return "not installed"
    done = subprocess.run([path, argument], capture_output=True, text=True, check=True)
    return done.stdout.partition("\n")[0]
