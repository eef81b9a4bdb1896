"""The way to the broker: its settings, its name in DNS, the connection, TLS, and what answers at its door."""

from __future__ import annotations

import socket
import ssl

from zerotrust_kerberos.doctor.finding import BAD, WARN, Finding, failed, ok, unseen
from zerotrust_kerberos.end_point import end_point
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.settings import SYSTEM_FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from zerotrust_kerberos.doctor.patient import Patient
    from zerotrust_kerberos.settings import Settings

_SOON_DAYS, _DAY = 14, 86400
_UNAUTHORIZED, _TICKET_TOO = 401, "negotiate"
# Schemes that something which is no broker offers, and what that usually is.
_OTHERS = {
    "ntlm": "a Windows server or a proxy that knows no Kerberos",
    "basic": "a web server or a proxy",
    "bearer": "an API",
}


def settings(patient: Patient) -> Finding:
    """That a broker is named, and where."""
    try:
        found = patient.settings
    except Failure as failure:
        return failed(failure, patient.call.place)
    trust = f", ca_file {found.ca_file}" if found.ca_file else ""
    return ok(f"broker_url {found.broker.url}{trust}, spn {found.spn}; {_source(patient)}")


def _source(patient: Patient) -> str:
    if "broker" in patient.call.options:
        return "from --broker"
    return (
        "from ZEROTRUST_BROKER_URL" if patient.environ.get("ZEROTRUST_BROKER_URL") else f"from a file, or {SYSTEM_FILE}"
    )


def address(patient: Patient) -> Finding:
    """What DNS says of the broker's name."""
    if (found := _remote(patient)) is None:
        return unseen("needs no DNS")
    host, port = found.broker.host, found.broker.port

    def look() -> list[str]:
        try:
            return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
        except OSError as error:
            raise Failure("broker_unreachable", f"{host}: {error.strerror}", fix=f"getent hosts {host}") from error

    try:
        return ok(f"{host}: {', '.join(patient.timed(look, late='broker_unreachable'))}")
    except Failure as failure:
        return failed(failure, patient.call.place)


def tls(patient: Patient) -> Finding:
    """The broker's certificate: who signed it, for which name, for how long."""
    found = _remote(patient)
    if found is None or found.broker.scheme != "https":
        return unseen("the broker is on this machine")
    try:
        certificate, der, version = patient.certificate()
    except Failure as failure:
        return failed(failure, patient.call.place, saying=_trusted(found) if failure.code == "tls_untrusted" else "")
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    days = int((ends - patient.now()) / _DAY)
    binding = "tickets are bound to it" if end_point(der) else "its kind defines no channel binding"
    evidence = f"{version}, certificate of {_signer(certificate)} for {found.broker.host}, {days} days left, {binding}"
    if days < _SOON_DAYS:
        return Finding(WARN, evidence, fix=f"tell who runs the broker at {found.broker.host}")
    return ok(evidence)


def door(patient: Patient) -> Finding:
    """That whoever answers asks for a ticket, as a broker does."""
    try:
        host = patient.settings.broker.host
    except Failure:
        return unseen("no broker is named")
    try:
        if patient.settings.broker.scheme == "https":
            patient.certificate()
    except Failure:
        return unseen("there is no connection to knock at it")
    try:
        answer = patient.door()
    except Failure as failure:
        return failed(failure, patient.call.place)
    offered = [value.split(" ", 1)[0].lower() for value in answer.values("www-authenticate")]
    if answer.status == _UNAUTHORIZED and _TICKET_TOO in offered:
        return ok("asks for a ticket (401 Negotiate)")
    server = "".join(f", {value}" for value in answer.values("server")[:1])
    said = f"HTTP status {answer.status}" + (f" {', '.join(offered)}" if offered else "") + server
    who = next((_OTHERS[scheme] for scheme in offered if scheme in _OTHERS), "")
    what = f"whoever answers at {host} asks for no Kerberos ticket ({said})" + (f": probably {who}" if who else "")
    fix = failed(Failure("unexpected_answer"), patient.call.place).fix
    return Finding(BAD, what, fix=fix, code="unexpected_answer")


def _remote(patient: Patient) -> Settings | None:
    """The settings, where the broker is somewhere else."""
    try:
        found = patient.settings
    except Failure:
        return None
    return found if found.broker.scheme == "https" else None


def _trusted(found: Settings) -> str:
    where = found.ca_file or ssl.get_default_verify_paths().cafile or ssl.get_default_verify_paths().capath
    return f"; what is trusted stands in {where}"


def _signer(certificate: Mapping[str, object]) -> str:
    issuer = certificate.get("issuer")
    names = dict(pair for group in (issuer if isinstance(issuer, tuple) else ()) for pair in group)
    return str(names.get("organizationName") or names.get("commonName") or "an unnamed authority")
