"""The broker's names in DNS, and whether it answers at its addresses."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from broker.admin.finding import Finding, bad, ok, warn
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.assembly.doctor.service import is_stopped
from broker.config.values import Listener, TcpListener, UnixListener, is_address
from broker.core.visible import visible

_PATIENCE_SECONDS = 4.0
_READY_MAX_BYTES = 64 * 1024
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # read from the configuration, not listened on


def names(patient: Patient) -> Iterator[Finding]:
    """That clients find each host name. Whose address it is nobody here can say: a balancer may stand before us."""
    hosts = patient.settings.server.hostnames or sorted(patient.keys.hosts)
    for name in (name for name in hosts if not is_address(name)):
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
        except OSError as error:
            fix = f"getent ahosts {name}; cat /etc/resolv.conf"
            yield bad("dns_failed", f"{name} has no address here: {error.strerror or error}", fix)
        else:
            yield ok(f"{name}: {', '.join(sorted(found))}")


def door(patient: Patient) -> Iterator[Finding]:
    """What each listener answers to ``GET /readyz``. Where systemd says that nobody runs, to knock would start one."""
    if is_stopped(patient):
        name = patient.unit.name if patient.unit else ""
        yield bad("broker_down", "no instance runs", f"systemctl status {name}; journalctl -u {name} -n 50")
        return
    for listener in patient.settings.server.listen:
        if isinstance(listener, TcpListener) and listener.port == 0:
            raise NotSeen(f"{listener}: its port is a free one at each start")
        yield from _asked(patient, listener)


def _asked(patient: Patient, listener: Listener) -> Iterator[Finding]:
    fix = "systemctl status 'zerotrust-broker*'; journalctl -u 'zerotrust-broker*' -n 50"
    try:
        status, body = _ready(patient, listener)
    except TimeoutError:
        yield bad("broker_hangs", f"{listener}: no answer in {_PATIENCE_SECONDS:g} s", fix)
        return
    except ssl.SSLError as error:
        yield bad("door_tls", f"{listener}: TLS: {error.reason or 'closed'}", f"openssl s_client -connect {listener}")
        return
    except (OSError, http.client.HTTPException) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        yield bad("broker_down", f"{listener}: nobody answers: {said}", fix)
        return
    yield _judged(listener, status, body)


def _judged(listener: Listener, status: int, body: bytes) -> Finding:
    try:
        found = json.loads(body)
        state, dependencies = found["status"], found["dependencies"]
        ill = {name: one.get("reason") for name, one in dependencies.items() if one.get("status") != "ok"}
    except (ValueError, KeyError, TypeError, AttributeError):
        who = "ss -ltnp" if isinstance(listener, TcpListener) else f"ss -lxp src {listener.path}"
        return bad("door_strange", f"{listener}: HTTP {status}, and not what a broker says", who)
    said = visible("; ".join(f"{name}: {reason}" for name, reason in ill.items()) or "every dependency is well")
    if status != http.client.OK:
        return bad("broker_not_ready", f"{listener}: {state}: {said}", "mend that dependency first")
    if ill:
        return warn("broker_degraded", f"{listener}: {state}: {said}", "mend that dependency first")
    return ok(f"{listener}: {state}: {said}")


def _ready(patient: Patient, listener: Listener) -> tuple[int, bytes]:
    host = (patient.settings.server.hostnames or sorted(patient.keys.hosts))[0]
    connection = _Through(listener)
    try:
        connection.request("GET", "/readyz", headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read(_READY_MAX_BYTES)
    finally:
        connection.close()


class _Through(http.client.HTTPConnection):
    """To a listener of this host."""

    def __init__(self, listener: Listener) -> None:
        super().__init__("localhost", timeout=_PATIENCE_SECONDS)
        self._listener = listener

    def connect(self) -> None:
        """See ``http.client``."""
        listener = self._listener
        if isinstance(listener, UnixListener):
            self.sock = _unix(listener.path)
            return
        address = (_EVERYWHERE.get(listener.host, listener.host), listener.port)
        self.sock = socket.create_connection(address, timeout=_PATIENCE_SECONDS)
        if listener.tls:
            # Whose certificate it is has a check of its own; here it is asked by an address, and nothing secret is said.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)


def _unix(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_PATIENCE_SECONDS)
    connection.connect(str(path))
    return connection
