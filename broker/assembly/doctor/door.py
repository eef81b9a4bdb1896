"""Whether the broker answers at its addresses, what it says of itself, and whether it is the one that is installed."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from broker import __version__
from broker.admin.finding import Finding, bad, ok, warn
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.assembly.doctor.service import is_stopped
from broker.config.values import Listener, TcpListener, UnixListener
from broker.core.visible import visible
from broker.keys.certificate import shown

_PATIENCE_SECONDS = 4.0
# What a broker with a thousand roles says of itself is a tenth of it.
_ANSWER_MAX_BYTES = 4 * 1024 * 1024
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # read from the configuration, not listened on
# docs/metrics.md
_VERSION = re.compile(rb'^broker_build_info\{(?:[^}]*,)?version="([^"}]*)"', re.MULTILINE)
_CLOCK = "clock_jump"
_JOURNAL = "journalctl -u 'zerotrust-broker*' -n 50"


@dataclass(frozen=True, slots=True)
class _Answer:
    """``/readyz`` and ``/metrics``; the certificate that was shown, DER, where TLS is spoken."""

    status: int
    ready: bytes
    metrics: bytes
    certificate: bytes | None


def door(patient: Patient) -> Iterator[Finding]:
    """What each listener says of itself. Where systemd says that nobody runs, to knock would start one."""
    if is_stopped(patient):
        yield bad("broker_down", "no instance runs", f"systemctl status 'zerotrust-broker*'; {_JOURNAL}")
        return
    for listener in patient.settings.server.listen:
        if isinstance(listener, TcpListener) and listener.port == 0:
            raise NotSeen(f"{listener}: its port is a free one at each start")
        yield from _asked(patient, listener)


def _asked(patient: Patient, listener: Listener) -> Iterator[Finding]:
    fix = f"systemctl status 'zerotrust-broker*'; {_JOURNAL}"
    try:
        answer = _answer(patient, listener)
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
    yield from _judged(listener, answer)
    yield from _certificate(patient, listener, answer)


def _judged(listener: Listener, answer: _Answer) -> Iterator[Finding]:
    try:
        found = json.loads(answer.ready)
        state, dependencies = found["status"], found["dependencies"]
        ill = {name: one for name, one in dependencies.items() if one.get("status") != "ok"}
    except (ValueError, KeyError, TypeError, AttributeError):
        who = "ss -ltnp" if isinstance(listener, TcpListener) else f"ss -lxp src {listener.path}"
        yield bad("door_strange", f"{listener}: HTTP {answer.status}, and not what a broker says", who)
        return
    for one in [one for one in ill.values() if one.get("code") == _CLOCK]:
        what = f"{listener}: the broker saw that {one.get('reason')}, at {one.get('since')}"
        yield warn(_CLOCK, what, "chronyc tracking; sudo timedatectl set-ntp true")
    said = "; ".join(_said(name, one) for name, one in ill.items() if one.get("code") != _CLOCK)
    evidence = f"{listener}: {state}: {said or 'every dependency is well'}"
    if answer.status != http.client.OK:
        yield bad("broker_not_ready", evidence, "mend that dependency first")
    elif said:
        yield warn("broker_degraded", evidence, "mend that dependency first")
    elif not ill:
        yield ok(evidence)
    yield from _outdated(listener, answer.metrics)


def _said(name: str, one: dict[str, str]) -> str:
    return visible(f"{name}: {one.get('reason')} ({one.get('code')}) since {one.get('since')}")


def _outdated(listener: Listener, metrics: bytes) -> Iterator[Finding]:
    """A broker that was there before the last update."""
    running = _VERSION.search(metrics)
    if running is not None and (version := visible(running[1].decode(errors="replace"))) != __version__:
        what = f"{listener}: {version} runs, and {__version__} is installed"
        yield warn("broker_outdated", what, "systemctl restart 'zerotrust-broker*'")


def _certificate(patient: Patient, listener: Listener, answer: _Answer) -> Iterator[Finding]:
    """What is shown is the file's: a pair that cannot be used is not taken, and the one before goes on until it ends."""
    section = patient.settings.tls
    if section is None or answer.certificate is None:
        return
    try:
        [first, *_] = shown(section.certificate.read_bytes())
    except (OSError, ValueError):
        return  # The check of TLS says so.
    if not first.is_the_one(answer.certificate):
        what = f"{listener}: the broker shows another certificate than {section.certificate}, which it looks at twice a minute"
        yield warn("certificate_not_loaded", what, f"systemctl reload 'zerotrust-broker*'; {_JOURNAL}")


def _answer(patient: Patient, listener: Listener) -> _Answer:
    host = (patient.settings.server.hostnames or sorted(patient.keys.hosts))[0]
    connection = _Through(listener)
    try:
        status, ready = _get(connection, "/readyz", host)
        certificate = connection.certificate
        return _Answer(status, ready, _get(connection, "/metrics", host)[1], certificate)
    finally:
        connection.close()


def _get(connection: http.client.HTTPConnection, path: str, host: str) -> tuple[int, bytes]:
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read(_ANSWER_MAX_BYTES)


class _Through(http.client.HTTPConnection):
    """To a listener of this host."""

    def __init__(self, listener: Listener) -> None:
        super().__init__("localhost", timeout=_PATIENCE_SECONDS)
        self._listener = listener
        self.certificate: bytes | None = None

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
            secured = context.wrap_socket(self.sock)
            self.certificate = secured.getpeercert(binary_form=True)
            self.sock = secured


def _unix(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_PATIENCE_SECONDS)
    connection.connect(str(path))
    return connection
