"""All checks, in the order in which one thing needs another: the first fault is the one to mend first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from broker.admin.finding import Finding, bad, unseen
from broker.assembly.doctor import (
    aws,
    certificate,
    clock,
    door,
    files,
    host,
    kerberos,
    keys,
    network,
    records,
    service,
    shared,
    storage,
)
from broker.assembly.doctor.patient import NotSeen, Patient

_USUAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """One.

    Attributes:
        look: What finds out.
        late: The code of what is wrong where it does not end in time; empty where that says nothing.
        seconds: How long it may take. libkrb5 tries silent KDCs for half a minute, a resolver as long.
    """

    look: Callable[[Patient], Iterable[Finding]]
    late: str = ""
    seconds: float = _USUAL_SECONDS


CHECKS: Mapping[str, Check] = {
    "account": Check(files.account),
    # A vault that the file refers to is asked for six seconds.
    "configuration": Check(files.configuration, late="config_unavailable", seconds=20),
    "permissions": Check(files.permissions),
    "disk": Check(storage.disk, late="disk_stuck"),
    "kernel": Check(host.kernel),
    "clock": Check(clock.kernel),
    "unit": Check(service.unit),
    "exposure": Check(service.exposure),
    "DNS": Check(network.names, late="dns_failed"),
    "keytab": Check(kerberos.keytab),
    "KDC": Check(kerberos.kdc, late="kdc_unreachable"),
    "keytab (KDC)": Check(kerberos.own_tickets, late="kdc_unreachable", seconds=20),
    "clock (KDC)": Check(clock.kdc),
    "TLS": Check(certificate.certificate),
    "door": Check(door.door, late="broker_hangs"),
    "Redis": Check(shared.redis, late="redis_unreachable"),
    "clock (Redis)": Check(clock.redis),
    "HSM": Check(keys.hsm, late="hsm_unavailable"),
    "master key": Check(keys.master, late="master_unavailable"),
    "keyring": Check(keys.keyring),
    "vault": Check(keys.vault, late="vault_unavailable"),
    "audit log": Check(records.log, seconds=30),
    "audit sinks": Check(records.sinks, late="sink_unreachable"),
    "clock (AWS)": Check(clock.aws),
    "AWS credentials": Check(aws.caller, late="aws_unreachable"),
    "external IDs": Check(aws.external_ids),
    "role chains": Check(aws.chains, late="aws_unreachable", seconds=120),
    "versions": Check(host.versions),
}


def look(check: Check, patient: Patient) -> Sequence[Finding]:
    """What it finds, within its time and whatever happens to it."""
    found: list[Finding] = []

    def work() -> None:
        try:
            found.extend(check.look(patient))
        except NotSeen as reason:
            found.append(unseen(str(reason)))
        except Exception as error:  # noqa: BLE001  # a doctor that falls ill goes on, and calls nothing good
            found.append(unseen(f"this check failed itself: {type(error).__name__}"))

    # It may sit in C code for longer than anybody waits; nobody waits for it at the end of the process.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(check.seconds)
    if thread.is_alive():
        what = f"no answer in {check.seconds:g} s"
        return [*found, bad(check.late, what, "try again; then see what hangs there") if check.late else unseen(what)]
    return found


def examine(patient: Patient, wanted: Sequence[str]) -> Iterator[tuple[str, Finding]]:
    """Each finding with its check's name, as soon as the check has ended."""
    for name, check in CHECKS.items():
        if not wanted or name in wanted:
            for finding in look(check, patient):
                yield name, finding
