"""The broker's names in DNS."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from broker.admin.finding import Finding, bad, ok
from broker.assembly.doctor.patient import Patient
from broker.config.values import is_address


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
