"""This host's clock. Kerberos allows five minutes between any two (``clockskew`` of krb5.conf), and so do AWS's signatures."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from broker.admin.finding import Finding, bad, ok, unseen, warn
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.assembly.doctor.shared import time_of
from broker.assembly.doctor.wire import Silent, date_of

_ALLOWED_SECONDS, _MUCH_SECONDS = 300, 60
_FIX = "chronyc tracking; sudo timedatectl set-ntp true"
# AWS General Reference, "AWS STS endpoints".
_CHINA = "cn-"
_TIMEX_BYTES = 208  # struct timex of 64-bit Linux (adjtimex(2))
_TIME_ERROR = 5  # TIME_ERROR: the clock is not synchronized


def kernel(patient: Patient) -> Iterator[Finding]:
    """Whether the kernel says that somebody keeps the clock right; nothing is set (``modes`` is 0)."""
    del patient
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state < 0:
        raise NotSeen(f"the kernel does not say ({os.strerror(ctypes.get_errno())})")
    if state == _TIME_ERROR:
        yield warn("clock_unsynchronised", "nobody keeps this host's clock right, the kernel says", _FIX)
    else:
        yield ok("kept right by somebody, the kernel says")


def kdc(patient: Patient) -> Iterator[Finding]:
    """Against each realm's KDC."""
    for realm in patient.realms:
        told = patient.kdc(realm)
        if told.ahead is None:
            yield unseen(f"the KDC of {realm} does not say its time")
        else:
            yield _judged(f"the KDC of {realm}", told.ahead)


def redis(patient: Patient) -> Iterator[Finding]:
    """Against the Redis that instances share."""
    section = patient.settings.redis
    if section is None:
        raise NotSeen("no Redis is configured")
    theirs = time_of(section)
    if theirs is None:
        raise NotSeen("Redis does not say its time")
    yield _judged("Redis", theirs - patient.clock.now().timestamp())


def aws(patient: Patient) -> Iterator[Finding]:
    """Against that of STS, as it says it to whoever comes."""
    section = patient.settings.aws
    suffix = ".cn" if section.region.startswith(_CHINA) else ""
    endpoint = section.sts_endpoint or f"https://sts.{section.region}.amazonaws.com{suffix}"
    try:
        text = date_of(endpoint)
    except Silent as error:
        fix = f"curl -sI {endpoint}"
        yield bad("aws_unreachable", f"{urlsplit(endpoint).hostname} cannot be reached: {error}", fix)
        return
    try:
        theirs = parsedate_to_datetime(text).timestamp()
    except ValueError as error:
        raise NotSeen(f"{urlsplit(endpoint).hostname} does not say its time") from error
    yield _judged("AWS", theirs - patient.clock.now().timestamp())


def _judged(whose: str, ahead: float) -> Finding:
    seconds = round(ahead)
    if abs(seconds) <= 1:  # times are told in whole seconds
        return ok(f"as that of {whose}")
    evidence = f"{abs(seconds)} s {'behind' if seconds > 0 else 'ahead of'} that of {whose}"
    if abs(seconds) > _ALLOWED_SECONDS:
        return bad("clock_skew", f"{evidence}: more than the {_ALLOWED_SECONDS} s that are allowed", _FIX)
    return warn("clock_drift", evidence, _FIX) if abs(seconds) > _MUCH_SECONDS else ok(evidence)
