"""Keytabs, and whether the KDC still has the same keys."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from broker.admin.finding import Finding, bad, ok, unseen
from broker.assembly.doctor.patient import Patient
from broker.authn.keytab import Key
from broker.authn.own_ticket import NoTicket, own_ticket

# RFC 3962 and RFC 8009.
_NAMES = {17: "aes128-sha1", 18: "aes256-sha1", 19: "aes128-sha256", 20: "aes256-sha384"}
_TIME = "chronyc tracking; sudo timedatectl set-ntp true"


def keytab(patient: Patient) -> Iterator[Finding]:
    """Which names there are keys for, and which host names have none."""
    settings = patient.settings
    for principal, keys in _by_principal(patient).items():
        versions = ", ".join(map(str, sorted({key.kvno for key in keys})))
        enctypes = ", ".join(
            _NAMES.get(each, str(each)) for each in sorted({key.enctype for key in keys}, reverse=True)
        )
        yield ok(f"{principal}: kvno {versions}; {enctypes}")
    for name in sorted(set(settings.server.hostnames or ()) - patient.keys.hosts):
        what = f"no key for HTTP/{name}: whoever asks for that name gets no ticket that the broker takes"
        fix = f"kadmin ktadd -k {settings.kerberos.keytabs[0]} HTTP/{name}; or take {name} out of server.hostnames"
        yield bad("keytab_without_host", what, fix)


def kdc(patient: Patient) -> Iterator[Finding]:
    """Of each realm that we have keys of."""
    for realm in patient.realms:
        told = patient.kdc(realm)
        if told.error:
            what = f"{realm}: {told.error}" + (f"; asked {', '.join(told.asked)}" if told.asked else "")
            yield bad(
                "kdc_unreachable", what, f"grep -A4 'realms' /etc/krb5.conf; nslookup -type=srv _kerberos._udp.{realm}"
            )
        else:
            yield ok(f"{realm}: answers: {', '.join(told.asked[-1:])}")


def own_tickets(patient: Patient) -> Iterator[Finding]:
    """For each name a ticket from the KDC, got and accepted with our own key."""
    silent: set[str] = set()
    for principal, keys in _by_principal(patient).items():
        newest = max(keys, key=lambda key: key.kvno)
        if newest.realm in silent or patient.kdc(newest.realm).error:
            yield unseen(f"{principal}: no KDC of {newest.realm} answers")
            continue
        try:
            sealed = own_ticket(patient.keys, newest)
        except NoTicket as error:
            silent |= {newest.realm} if error.reason == "unreachable" else set()
            yield _no_ticket(patient, principal, newest, error)
        else:
            enctype = _NAMES.get(sealed.enctype, str(sealed.enctype))
            yield ok(f"{principal}: the KDC seals with kvno {sealed.kvno}, {enctype}, and it opens here")


def _no_ticket(patient: Patient, principal: str, newest: Key, error: NoTicket) -> Finding:
    name = "/".join(newest.components)
    path = patient.settings.kerberos.keytabs[0]
    compare = f"klist -ekt {path}; kvno {name}"
    if error.reason == "stale":
        what = f"{principal}: the KDC has other keys than the keytab's, whose newest is kvno {newest.kvno} ({error})"
        # New keys end those that other hosts of the same name have.
        return bad(
            "keytab_stale", what, f"{compare}; kadmin ktadd -k {path} {name}, on one host, and copy it to the others"
        )
    if error.reason == "unknown":
        what = f"{principal}: the KDC knows it not as one that logs in, so its keys cannot be tried ({error})"
        return unseen(what, f"kinit YOU; {compare}")
    if error.reason == "skew":
        return bad("clock_skew", f"{principal}: {error}", _TIME)
    if error.reason == "unreachable":
        return bad("kdc_unreachable", f"{principal}: {error}", "cat /etc/krb5.conf")
    fix = f"kadmin getprinc {name}"
    return bad("keytab_refused", f"{principal}: the KDC gives no ticket: {error}", fix)


def _by_principal(patient: Patient) -> dict[str, list[Key]]:
    def of(key: Key) -> str:
        return f"{'/'.join(key.components)}@{key.realm}"

    return {principal: list(keys) for principal, keys in groupby(sorted(patient.keys.keys, key=of), key=of)}
