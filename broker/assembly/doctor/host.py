"""The host: what the kernel gives the broker, and which versions there are."""

from __future__ import annotations

import platform
import resource
import ssl
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from broker import __version__, locked
from broker.admin.finding import Finding, ok, warn
from broker.assembly.doctor.patient import Patient

_DOCS = "docs/memory.md"
# A connection is a descriptor, and 10,000 idle ones are served (docs/threat-model.md).
_DESCRIPTORS_MIN = 16_384
_BACKLOG_MIN = 512
_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
_SWAPS = Path("/proc/swaps")
_PACKAGES = ("aiohttp", "boto3", "cryptography", "gssapi", "pydantic", "redis")


def kernel(patient: Patient) -> Iterator[Finding]:
    """Locked memory, descriptors, queues. Limits are those of the unit, where there is one, else of whoever looks."""
    kind = locked.Locked(1).kind
    if kind == "plain":
        yield warn("memory_unlocked", f"no memory can be locked here: keys may be swapped ({_DOCS})", "ulimit -l")
    else:
        how = "memfd_secret" if kind == "secret" else "mlock, for the kernel has no memfd_secret (secretmem.enable=1)"
        yield ok(f"keys lie in memory locked by {how}")
    yield _swap(patient)
    yield _descriptors(patient)
    yield from _queue()


def versions(patient: Patient) -> Iterator[Finding]:
    """Ours, and those of what we stand on."""
    del patient
    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    ours = f"zerotrust {__version__}, Python {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    yield ok(f"{ours}, Linux {platform.release()}; {packages}")


def _swap(patient: Patient) -> Finding:
    try:
        is_there = len(_SWAPS.read_text().splitlines()) > 1
    except OSError:
        is_there = True
    limit = patient.unit.last("LimitMEMLOCK") if patient.unit else _said(resource.RLIMIT_MEMLOCK)
    if not is_there:
        return ok("no swap")
    if limit == "infinity":
        return ok("swap is there, and the broker locks all of its memory (LimitMEMLOCK=infinity)")
    what = f"swap is there, and the broker may lock {limit or 'little'}: what it holds may be written to disk"
    return warn("memory_unlocked", what, "LimitMEMLOCK=infinity in the unit; see docs/memory.md")


def _descriptors(patient: Patient) -> Finding:
    text = patient.unit.last("LimitNOFILE") if patient.unit else _said(resource.RLIMIT_NOFILE)
    soft = text.partition(":")[0]
    if soft.isdecimal() and int(soft) < _DESCRIPTORS_MIN:
        return warn("descriptors_few", f"{soft} descriptors: a connection is one", "LimitNOFILE=65536 in the unit")
    return ok(f"{soft or 'as many as systemd gives'} descriptors")


def _queue() -> Iterator[Finding]:
    try:
        backlog = int(_SOMAXCONN.read_text())
    except (OSError, ValueError):
        return
    if backlog < _BACKLOG_MIN:
        what = f"{backlog} connections may wait to be accepted (net.core.somaxconn)"
        yield warn("queue_short", what, "sysctl -w net.core.somaxconn=4096")


def _said(limit: int) -> str:
    soft = resource.getrlimit(limit)[0]
    return "infinity" if soft == resource.RLIM_INFINITY else str(soft)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(missing)"
