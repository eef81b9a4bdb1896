"""krb5.conf, the KDC, the ticket, and the broker's name in Kerberos."""

from __future__ import annotations

import time

from zerotrust_kerberos.doctor import private
from zerotrust_kerberos.doctor.finding import BAD, WARN, Finding, failed, ok, unseen
from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.doctor.krb5 import Ticket
    from zerotrust_kerberos.doctor.patient import Patient

# RFC 3962 and RFC 8009: the broker takes no other session key.
_AES = ("aes256-cts", "aes128-cts")
_SOON = 30 * 60  # seconds: credentials end with the ticket, and none are given for less than a quarter of an hour
_DEFAULT_FILE = "/etc/krb5.conf"


def configuration(patient: Patient) -> Finding:
    """That krb5.conf can be read and names a realm."""
    files = patient.environ.get("KRB5_CONFIG", _DEFAULT_FILE)
    try:
        return ok(f"{files}: realm {patient.default_realm()}")
    except Failure as failure:
        if failure.code == "kerberos_missing":
            return failed(failure, patient.call.place)
        return Finding(BAD, f"{files}: {failure.detail}", fix=f"cat {files.replace(':', ' ')}", code=failure.code)


def kdc(patient: Patient) -> Finding:
    """That a KDC answers."""
    try:
        asked = patient.kdc().asked
    except Failure as failure:
        return failed(failure, patient.call.place)
    return ok(f"answers: {', '.join(asked[-1:])}")


def ticket(patient: Patient) -> Finding:
    """That there is a ticket, for how long, and whether the broker would take it."""
    try:
        cache = patient.cache()
    except Failure as failure:
        return failed(failure, patient.call.place)
    granting = [one for one in cache.tickets if one.server.startswith("krbtgt/")]
    whose = f"{cache.principal} in {cache.name}"
    if not granting:
        # A service ticket alone is enough as long as it lasts; a new one cannot be had.
        return failed(Failure("no_ticket", f"{whose} has none of the KDC"), patient.call.place)
    best = max(granting, key=lambda one: one.end)
    now = patient.now()
    if best.end <= now:
        return failed(Failure("ticket_expired", f"{whose} ended at {_clock(best.end)}"), patient.call.place)
    return _taken(best, now, f"{whose}, {best.enctype}, until {_clock(best.end)}{_renewable(best, now)}", cache.name)


def _taken(best: Ticket, now: float, evidence: str, cache: str) -> Finding:
    """Of a ticket that has not ended."""
    if not best.enctype.startswith(_AES):
        what = f"{evidence}: the broker takes AES only"
        return Finding(BAD, what, fix="klist -e; grep -r enctypes /etc/krb5.conf", code="auth_failed")
    if best.end - now < _SOON:
        if best.renew_till > now:
            return Finding(WARN, f"{evidence}: it ends soon", fix="kinit -R", repair=lambda: _run("kinit", "-R"))
        return Finding(WARN, f"{evidence}: it ends soon", fix="zerotrust login")
    return _private(cache, evidence)


def service(patient: Patient) -> Finding:
    """What the broker is called in Kerberos, and that the KDC knows it."""
    try:
        settings = patient.settings
    except Failure:
        return unseen("no broker is named")
    wanted, became = settings.spn, ""
    if "/" not in wanted:
        kind, _, host = wanted.partition("@")
        try:
            became = patient.service_name(kind, host)
        except Failure as failure:
            return failed(failure, patient.call.place)
    changed = bool(became) and became.rpartition("@")[0].lower() != wanted.replace("@", "/").lower()
    why = (
        f"; krb5.conf makes {became.rpartition('@')[0]} of it by DNS (dns_canonicalize_hostname, rdns)"
        if changed
        else ""
    )
    # A principal in full is taken as it stands, whatever DNS says.
    exact = f"export ZEROTRUST_SPN={wanted.replace('@', '/')}@{_realm(patient, became)}"
    try:
        patient.service_ticket()
    except Failure as failure:
        found = failed(failure, patient.call.place, saying=why)
        if changed and failure.code in {"service_unknown", "kerberos_failed", "kdc_unreachable"}:
            return Finding(BAD, found.evidence, fix=exact, code=found.code)
        return found
    if changed:
        return Finding(WARN, f"{wanted}{why}, and there is a ticket for that", fix=exact)
    return ok(f"{became or wanted}: there is a ticket for it")


def _realm(patient: Patient, became: str) -> str:
    try:
        return became.rpartition("@")[2] or patient.principal().rpartition("@")[2]
    except Failure:
        return "REALM"


def _private(name: str, evidence: str) -> Finding:
    """Whoever reads the file is its owner to the KDC."""
    kind, _, path = name.partition(":")
    if kind == "FILE" and private.is_open(path):
        what = f"{evidence}; {path} can be read by others"
        return Finding(WARN, what, fix=f"chmod 600 '{path}'", repair=lambda: private.close(path))
    return ok(evidence)


def _renewable(best: Ticket, now: float) -> str:
    return f", renewable until {_clock(best.renew_till)}" if best.renew_till > now else ", not renewable"


def _clock(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _run(*words: str) -> None:
    import subprocess  # noqa: PLC0415  only to mend something

    done = subprocess.run(  # noqa: S603  words of ours
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode:
        raise Failure("kerberos_failed", done.stderr.strip())
