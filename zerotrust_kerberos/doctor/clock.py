"""Clocks. Kerberos allows five minutes between any two of them (``clockskew`` of krb5.conf), and so do AWS's signatures."""

from __future__ import annotations

import calendar
import time

from zerotrust_kerberos.doctor.finding import WARN, Finding, failed, ok, unseen
from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.doctor.patient import Patient

_ALLOWED, _MUCH = 300, 60  # seconds
_NTP = "sudo timedatectl set-ntp true"
_AWS_SECONDS = 3.0  # many machines have no way to AWS and need none


def kdc(patient: Patient) -> Finding:
    """Against the KDC's."""
    try:
        ahead = patient.kdc().ahead
    except Failure:
        return unseen("the KDC does not answer")
    return unseen("the KDC does not say its time") if ahead is None else _judged("the KDC", ahead, patient)


def broker(patient: Patient) -> Finding:
    """Against the broker's."""
    try:
        answer = patient.door()
    except Failure:
        return unseen("the broker does not answer")
    ahead = _ahead("".join(answer.values("date")), patient)
    return unseen("the broker does not say its time") if ahead is None else _judged("the broker", ahead, patient)


def aws(patient: Patient) -> Finding:
    """Against AWS's, where it can be reached."""
    endpoint = _endpoint(patient)
    try:
        date = patient.timed(lambda: _date_of(endpoint), late="broker_timeout")
    except Failure as failure:
        return unseen(f"{endpoint} cannot be reached from here, which credentials do not need ({failure.detail})")
    ahead = _ahead(date, patient)
    return unseen(f"{endpoint} does not say its time") if ahead is None else _judged("AWS", ahead, patient)


def _judged(whose: str, ahead: float, patient: Patient) -> Finding:
    seconds = round(ahead)
    if abs(seconds) <= 1:  # times are told in whole seconds
        return ok(f"as {whose}'s")
    evidence = f"{abs(seconds)} s {'behind' if seconds > 0 else 'ahead of'} {whose}'s"
    if abs(seconds) > _ALLOWED:
        found = failed(Failure("clock_skew", evidence), patient.call.place)
        return Finding(found.verdict, f"{evidence}: more than the {_ALLOWED} s allowed", fix=_NTP, code=found.code)
    return Finding(WARN, evidence, fix=_NTP) if abs(seconds) > _MUCH else ok(evidence)


def _ahead(date: str, patient: Patient) -> float | None:
    try:
        return calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")) - patient.now()
    except ValueError:
        return None


def _endpoint(patient: Patient) -> str:
    environ = patient.environ
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    usual = f"https://sts.{region}.amazonaws.com" if region else "https://sts.amazonaws.com"
    return environ.get("AWS_ENDPOINT_URL_STS") or environ.get("AWS_ENDPOINT_URL") or usual


def _date_of(url: str) -> str:
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415  for this check only
    from urllib.parse import urlsplit  # noqa: PLC0415  as above

    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_AWS_SECONDS)
    try:
        connection.request("HEAD", "/")
        return connection.getresponse().getheader("Date", "")
    except (OSError, HTTPException) as error:
        raise Failure("broker_unreachable", str(error)) from error
    finally:
        connection.close()
