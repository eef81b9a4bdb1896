"""The round trip: a ticket for the broker, its proof in return, who one is to it, and a role if one is asked after."""

from __future__ import annotations

from zerotrust_kerberos.doctor.finding import BAD, Finding, failed, ok, unseen
from zerotrust_kerberos.failures import Failure, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.doctor.patient import Patient

# What an explanation's verdict means to somebody who wants the role.
_CODES = {"step_up": "step_up_required", "approval": "approval_required", "denied": "access_denied"}


def sign_in(patient: Patient) -> Finding:
    """Negotiate, both ways."""
    try:
        scheme = patient.settings.broker.scheme
    except Failure:
        return unseen("no broker is named")
    try:
        patient.door()
        patient.service_ticket()
    except Failure:
        return unseen("needs a ticket for the broker, and somebody at its door")
    try:
        members = patient.whoami()
    except Failure as failure:
        return failed(failure, patient.call.place)
    bound = ", the ticket bound to the connection" if scheme == "https" else ""
    principal, ends = (clean(str(members.get(name, "?"))) for name in ("principal", "ticket_ends"))
    return ok(f"{principal}, ticket until {ends}; the broker proved itself{bound}")


def role(patient: Patient) -> Finding:
    """Whether the role can be had."""
    try:
        name = patient.settings.role
        patient.whoami()
    except Failure:
        return unseen("the broker could not be asked")
    if name is None:
        return unseen("no --role was given")
    try:
        members = patient.explained(name)
    except Failure as failure:
        return failed(failure, patient.call.place)
    verdict, hint = (clean(str(members.get(key, ""))) for key in ("verdict", "hint"))
    if verdict not in _CODES:
        arn = members.get("role_arn")
        return ok(f"{name}: {verdict}" + (f", {clean(arn)}" if isinstance(arn, str) else ""))
    code = _CODES[verdict]
    return Finding(BAD, f"{name}: {hint or verdict}", fix=failed(Failure(code), patient.call.place).fix, code=code)
