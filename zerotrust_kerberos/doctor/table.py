"""All checks, in the order in which one thing needs another: the first fault is the one to mend first."""

from __future__ import annotations

from zerotrust_kerberos.doctor import aws, broker, clock, kerberos, machine, network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zerotrust_kerberos.doctor.finding import Finding
    from zerotrust_kerberos.doctor.patient import Patient

CHECKS: Mapping[str, Callable[[Patient], Finding]] = {
    "settings": network.settings,
    "krb5.conf": kerberos.configuration,
    "KDC": kerberos.kdc,
    "clock (KDC)": clock.kdc,
    "ticket": kerberos.ticket,
    "address": network.address,
    "TLS": network.tls,
    "door": network.door,
    "clock (broker)": clock.broker,
    "service name": kerberos.service,
    "sign-in": broker.sign_in,
    "role": broker.role,
    "agent": machine.agent,
    "proxies": machine.proxies,
    "AWS variables": aws.variables,
    "AWS files": aws.files,
    "clock (AWS)": clock.aws,
    "versions": machine.versions,
}
