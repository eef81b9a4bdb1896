"""The audit log: whether it can be believed, and whether its sinks are there."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from broker.admin.finding import Finding, bad, ok, unseen, warn
from broker.assembly.audit import own_keys
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.assembly.doctor.wire import Silent, connect_socket, connected, shake
from broker.assembly.sinks import client_context, context_for
from broker.audit.verify import verify
from broker.config.sinks import Sink
from broker.core.errors import ConfigurationError

# In 30 s one process reads about 250 MiB on a slow core; beyond, the command for it uses all cores and takes its time.
_BYTES_MAX = 128 << 20
_HTTPS = 443
_HTTP = 80
_SHOWN = 3


def log(patient: Patient) -> Iterator[Finding]:
    """Every record and checkpoint, against the broker's own public keys. Nothing is written."""
    directory = patient.settings.audit.directory
    command = f"zerotrust-admin audit verify {directory}"
    try:
        size = sum(path.stat().st_size for path in directory.iterdir())
    except FileNotFoundError as error:
        raise NotSeen(f"{directory} is not there yet") from error
    except OSError as error:
        raise NotSeen(f"{directory} cannot be read: {error.strerror}") from error
    if size > _BYTES_MAX:
        yield unseen(f"{directory} holds {size >> 20} MiB, which takes minutes to check", command)
        return
    try:
        report = verify([directory], jwks=own_keys(patient.settings))
    except ConfigurationError as error:
        raise NotSeen("the keys that signed it cannot be had") from error
    except OSError as error:
        raise NotSeen(f"{error.filename}: {error.strerror}") from error
    yield from (bad("audit_broken", str(finding), command) for finding in report.findings[:_SHOWN])
    if len(report.findings) > _SHOWN:
        yield bad("audit_broken", f"and {len(report.findings) - _SHOWN} more findings", command)
    what = f"{report.records} records of {report.instances} instances, {report.checkpoints} checkpoints"
    if not report.findings:
        yield ok(f"{what}: as they were written") if report.records else unseen("there are no records yet")


def sinks(patient: Patient) -> Iterator[Finding]:
    """Whether each receiver can be connected to. Nothing is sent: no token, no record."""
    entries = patient.settings.audit.sinks
    if not entries:
        raise NotSeen("none is configured")
    for entry in entries:
        where, fix = _place(entry)
        try:
            _reach(entry)
        except (Silent, ssl.SSLError) as error:
            holds_up = " (required: nothing is handed out without it)" if entry.required else ""
            said = f"{entry.name}: {where}: {error}{holds_up}"
            yield bad("sink_unreachable", said, fix) if entry.required else warn("sink_unreachable", said, fix)
        else:
            yield ok(f"{entry.name}: {where} is there")


def _place(entry: Sink) -> tuple[str, str]:
    """Its host, as far as that is no secret, and a command that shows more."""
    if entry.journald is not None:
        return str(entry.journald.socket), "systemctl status systemd-journald.socket"
    host, port, _ = _address(entry)
    return f"{host}:{port}", f"openssl s_client -connect {host}:{port} </dev/null"


def _address(entry: Sink) -> tuple[str, int, bool]:
    """Host, port, and whether it is TLS."""
    if entry.syslog is not None:
        host, _, port = entry.syslog.server.rpartition(":")
        return host, int(port), True
    url = entry.splunk.url if entry.splunk is not None else entry.webhook.url.reveal() if entry.webhook else ""
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    return parts.hostname or "", parts.port or (_HTTPS if is_tls else _HTTP), is_tls


def _reach(entry: Sink) -> None:
    if entry.journald is not None:
        connect_socket(entry.journald.socket, kind=socket.SOCK_DGRAM)
        return
    host, port, is_tls = _address(entry)
    if not is_tls:
        with connected(host, port):
            return
    if entry.syslog is not None:
        context = client_context(entry.syslog)
    else:
        section = entry.splunk or entry.webhook
        context = context_for(section.ca if section else None)
    shake(host, port, context)
