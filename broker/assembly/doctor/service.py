"""The broker's unit: what systemd says of it, what changes it, and what it exposes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from broker.admin.finding import Finding, bad, ok, unseen, warn
from broker.assembly.doctor.patient import NotSeen, Patient
from broker.assembly.doctor.unit import Unit, properties, said_by
from broker.core.visible import visible

# Guarantee 14 (docs/threat-model.md); our own unit is at 1.2, and a drop-in is allowed one more thing.
_EXPOSURE_MAX = 1.5
_EXPOSURE = re.compile(r"Overall exposure level for \S+: ([0-9.]+)")
# What the broker relies on, and what a drop-in of somebody in a hurry takes away.
_RELIED_ON = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "LimitCORE": "0", "LimitMEMLOCK": "infinity"}
_WANTED = ("ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "StatusText", "NeedDaemonReload")
_EX_CONFIG = "78"


def unit(patient: Patient) -> Iterator[Finding]:
    """Whether it runs, each instance of it, and what drop-ins change."""
    found = _of(patient)
    for path in found.drop_ins:
        yield ok(f"changed by {path}")
    for name in found.instances:
        said = properties(name, *_WANTED, environ=patient.environ)
        if said:
            yield _state(name, said)
        else:
            yield unseen(f"{name}: {found.file} is installed; systemd does not say whether it runs")


def exposure(patient: Patient) -> Iterator[Finding]:
    """What ``systemd-analyze security`` says of it, drop-ins included; and what the broker counts on."""
    found = _of(patient)
    fix = f"systemctl cat {found.name}; systemd-analyze security {found.name}"
    for setting, value in _RELIED_ON.items():
        if found.last(setting) != value:
            what = f"{setting}={found.last(setting) or '(nothing)'} in place of {value}"
            yield warn("unit_weakened", what, fix)
    if found.last("User") in ("", "root"):
        yield bad("unit_exposed", f"{found.name} runs the broker as root", fix)
    # Of the files, so that it is seen where systemd does not answer, and before a daemon-reload.
    said = said_by(
        *("systemd-analyze", "security", "--offline=yes", "--no-pager", str(found.file)), environ=patient.environ
    )
    level = _EXPOSURE.search(said)
    if level is None:
        yield unseen("systemd-analyze does not say how exposed it is", f"systemd-analyze security {found.name}")
    elif float(level[1]) > _EXPOSURE_MAX:
        yield bad("unit_exposed", f"{found.name}: exposure {level[1]}, more than {_EXPOSURE_MAX}", fix)
    else:
        yield ok(f"{found.name}: exposure {level[1]}")


def is_stopped(patient: Patient) -> bool:
    """Whether systemd says that no instance runs: to knock at its socket would start one."""
    if patient.unit is None:
        return False
    states = [properties(name, "ActiveState", environ=patient.environ) for name in patient.unit.instances]
    return all(state.get("ActiveState") in ("inactive", "failed") for state in states)


def _of(patient: Patient) -> Unit:
    if patient.unit is None:
        raise NotSeen("no unit of the broker is installed")
    return patient.unit


def _state(name: str, said: Mapping[str, str]) -> Finding:
    state = f"{name}: {said.get('ActiveState')} ({said.get('SubState')})"
    log = f"journalctl -u {name} -n 50"
    if said.get("ExecMainStatus") == _EX_CONFIG and said.get("ActiveState") != "active":
        return bad("broker_down", f"{state}: the configuration did not start", f"{log}; zerotrust-broker check-config")
    if said.get("ActiveState") not in ("active", "reloading", "activating"):
        return bad("broker_down", f"{state}, result {said.get('Result')}", f"{log}; systemctl start {name}")
    if said.get("NeedDaemonReload") == "yes":
        return warn("unit_changed", f"{state}: its files were changed and not read", "systemctl daemon-reload")
    if said.get("NRestarts", "0") != "0":
        return warn("broker_restarted", f"{state}: systemd started it {said['NRestarts']} times anew", log)
    return ok(visible(f"{state}: {said.get('StatusText') or 'says nothing of itself'}"))
