"""The certificate that clients are shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

from broker.admin.finding import Finding, bad, ok, warn
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.keys.certificate import Shown, shown

# A person has to be asked for a new one; those that renew by themselves do so with a third of their life left.
_SOON = timedelta(days=14)


def certificate(patient: Patient) -> Iterator[Finding]:
    """Whose it is, until when it counts, and whether its chain holds together."""
    section = patient.settings.tls
    if section is None:
        raise NotSeen("no listener speaks TLS")
    file = section.certificate
    try:
        first, *others = shown(file.read_bytes())
    except (OSError, ValueError) as error:
        yield bad("certificate_unusable", f"{file}: {error}", f"openssl x509 -in {file} -noout -text")
        return
    chain = [first, *others]
    faults = [*_time(patient, chain), *_names(patient, first), *_order(chain)]
    look = f"openssl x509 -in {file} -noout -subject -dates -ext subjectAltName"
    yield from (Finding(fault.verdict, f"{file}: {fault.evidence}", look, fault.code) for fault in faults)
    if not faults:
        until = f"until {min(one.ends for one in chain):%Y-%m-%d %H:%M} UTC"
        yield ok(f"{file}: for {', '.join(sorted(first.names))}, {until}; chain of {len(chain)}")


def _time(patient: Patient, chain: list[Shown]) -> Iterator[Finding]:
    now = patient.clock.now()
    for one in chain:
        whose = "it" if one is chain[0] else f"its issuer {one.subject}"
        if one.ends <= now:
            yield bad("certificate_expired", f"{whose} ended at {one.ends:%Y-%m-%d %H:%M} UTC", "")
        elif one.begins > now:
            yield bad("certificate_not_yet", f"{whose} counts from {one.begins:%Y-%m-%d %H:%M} UTC on", "")
        elif one.ends - now < _SOON:
            yield warn("certificate_ends_soon", f"{whose} ends at {one.ends:%Y-%m-%d %H:%M} UTC", "")


def _names(patient: Patient, first: Shown) -> Iterator[Finding]:
    for name in sorted(patient.settings.server.hostnames or ()):
        if not first.is_for(name):
            what = f"it is not for {name}, but for {', '.join(sorted(first.names)) or 'nobody'}"
            yield bad("certificate_wrong_name", what, "")


def _order(chain: list[Shown]) -> Iterator[Finding]:
    for one, issuer in pairwise(chain):
        if not one.is_signed_by(issuer):
            what = f"{issuer.subject} stands behind {one.subject} and did not sign it: each is followed by its issuer"
            yield bad("certificate_chain", what, "")
