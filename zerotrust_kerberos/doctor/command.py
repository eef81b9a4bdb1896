"""``zerotrust doctor``: all checks, one line each, with the fix below what is wrong; ends with the first fault's exit status."""

from __future__ import annotations

import json
import os
import pwd
import time

from zerotrust_kerberos import output
from zerotrust_kerberos.doctor.finding import BAD, OK, UNSEEN, WARN, Finding
from zerotrust_kerberos.doctor.patient import Patient
from zerotrust_kerberos.doctor.table import CHECKS
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.tables import has_colour, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from zerotrust_kerberos.commands import Call

_DONE = "done"
_WIDTH = max(map(len, CHECKS))
_MARKS = {OK: "ok  ", WARN: "warn", BAD: "BAD ", UNSEEN: "-   "}
_COLOURS = {OK: "32", WARN: "33", BAD: "31", UNSEEN: "2"}


def command(call: Call) -> str:
    """Each finding as it is found; with ``--json`` a list of all of them."""
    as_json = "json" in call.switches
    patient = Patient(call, os.environ, user=_user(), now=time.time)
    findings = {}
    for name, check in CHECKS.items():
        found = check(patient)
        mended = _mended(patient, found, name) if "fix" in call.switches and found.repair else ""
        findings[name] = {
            "check": name,
            "verdict": found.verdict,
            "evidence": printable(found.evidence),
            **({"fix": found.fix} if found.fix else {}),
            **({"code": found.code} if found.code else {}),
            **({"fixed": mended} if mended else {}),
        }
        call.status = call.status or (0 if mended == _DONE else found.exit_status)
        if not as_json:
            _print(_shown(findings[name]))
    return json.dumps(list(findings.values()), indent=2) if as_json else ""


def _print(text: str) -> None:
    """At once: the next check may take ten seconds."""
    try:
        output.put(text)
    except OSError as error:
        raise Failure("output_failed", error.strerror or "") from error


def _mended(patient: Patient, found: Finding, name: str) -> str:
    """What came of a repair. Only what is harmless whatever the reason was has one."""
    assert found.repair is not None  # noqa: S101  asked for by the caller
    try:
        found.repair()
    except (Failure, OSError) as error:
        return f"failed: {error.detail if isinstance(error, Failure) else error.strerror}"
    patient.forget()
    again = CHECKS[name](patient)
    return _DONE if again.verdict == OK else f"no help: {again.evidence}"


def _shown(finding: Mapping[str, str]) -> str:
    mark = _MARKS[finding["verdict"]]
    if has_colour():
        mark = f"\x1b[{_COLOURS[finding['verdict']]}m{mark}\x1b[0m"
    lines = [f"{mark} {finding['check']:{_WIDTH}}  {finding['evidence']}"]
    indent = " " * (len(_MARKS[OK]) + _WIDTH + 3)
    lines += [f"{indent}run: {printable(finding['fix'])}"] if "fix" in finding else []
    lines += [f"{indent}--fix: {printable(finding['fixed'])}"] if "fixed" in finding else []
    return "".join(f"{line}\n" for line in lines)


def _user() -> str:
    """Who a bare kinit would ask for."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
