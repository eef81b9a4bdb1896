"""The machine: proxies, the agent, versions."""

from __future__ import annotations

import os
import platform
import socket
import ssl
import struct
import subprocess
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # undocumented; what urllib itself asks

from zerotrust_kerberos import __version__
from zerotrust_kerberos.by_agent import SYSTEM_SOCKET, users_socket
from zerotrust_kerberos.doctor.finding import WARN, Finding, ok, unseen
from zerotrust_kerberos.failures import Failure, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from zerotrust_kerberos.doctor.patient import Patient

_AWS_SECONDS = 8.0  # the AWS CLI takes a second to say its version
_AGENT_SECONDS = 2.0


def proxies(patient: Patient) -> Finding:
    """Whether curl and browsers would go to the broker through a proxy; ``zerotrust`` never does."""
    try:
        broker = patient.settings.broker
    except Failure:
        return unseen("no broker is named")
    if not broker.port:
        return ok("none on the way to a Unix socket")
    named = _named(patient.environ, "https" if broker.scheme == "https" else "http")
    if named is None:
        return ok("none for the broker")
    variable, address = named
    bypass = {"no": patient.environ.get("no_proxy") or patient.environ.get("NO_PROXY") or ""}
    if proxy_bypass_environment(broker.host, bypass):
        return ok(f"{variable} is {address}, and not for {broker.host}")
    what = f"{variable} is {address}: curl and browsers go to {broker.host} through it, zerotrust itself does not"
    return Finding(WARN, what, fix=f'export NO_PROXY="${{NO_PROXY:+$NO_PROXY,}}{broker.host}"')


def _named(environ: Mapping[str, str], scheme: str) -> tuple[str, str] | None:
    """The variable in force, and its host alone: a proxy's URL may hold a password."""
    for variable in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        if value := environ.get(variable):
            parts = urlsplit(value if "//" in value else f"//{value}")
            return variable, clean(f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname))
    return None


def versions(patient: Patient) -> Finding:
    """Ours, and those of what we stand on."""
    ours = f"zerotrust {__version__}, Python {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    return ok(f"{ours}; {_aws(patient.environ)}")


def _aws(environ: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            ["aws", "--version"],  # noqa: S607  the user's own, as the shell would find it
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_AWS_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "no AWS CLI"
    return clean((done.stdout.splitlines() or done.stderr.splitlines() or ["no AWS CLI"])[0])


def agent(patient: Patient) -> Finding:
    """Whether an agent answers where the helper looks for it, and whose it is."""
    try:
        named = patient.settings.agent
    except Failure:
        named = None
    usual = [path for path in (users_socket(patient.environ), SYSTEM_SOCKET) if path and os.path.exists(path)]  # noqa: PTH110
    path = named or (usual[0] if usual else "")
    if not path:
        return unseen("none: every command asks the broker itself")
    try:
        uid = _owner_of(path)
    except OSError as error:
        what = f"{path}: {error.strerror or error}; commands go to the broker themselves"
        return Finding(WARN, what, fix=f"ls -l '{path}'; zerotrust help agent")
    if uid not in {0, os.geteuid()}:
        return Finding(WARN, f"{path} belongs to uid {uid}, whom nobody here trusts", fix=f"ls -l '{path}'")
    return ok(f"{path}, run by uid {uid}")


def _owner_of(path: str) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_AGENT_SECONDS)
        connection.connect(path)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
