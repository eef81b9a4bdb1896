"""The examination as a program of its own: as the broker's account, with the broker's environment, as far as we may."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from broker.admin.finding import Finding, UnknownCheck
from broker.assembly.doctor.patient import Patient
from broker.assembly.doctor.table import CHECKS
from broker.assembly.doctor.table import examine as examined
from broker.assembly.doctor.unit import Unit, installed
from broker.core.clock import Clock


def examine(config: Path, only: Sequence[str], *, may_assume: bool, clock: Clock) -> Iterator[tuple[str, Finding]]:
    """See ``broker.admin.finding.Examine``.

    Root becomes the account that the unit names, for good: what root may read the broker may not, and what root opens is left
    behind with an owner that locks the broker out.

    Raises:
        UnknownCheck: ``only`` names what is none.
    """
    wanted = _wanted(only)
    unit = installed(os.environ)
    if unit is not None:
        _become(unit)
    patient = Patient(config=config, environ=dict(os.environ), clock=clock, unit=unit, may_assume=may_assume)
    with _quiet():
        yield from examined(patient, wanted)


def _wanted(only: Sequence[str]) -> Sequence[str]:
    known = {name.casefold(): name for name in CHECKS}
    asked = [word.strip() for text in only for word in text.split(",") if word.strip()]
    unknown = [word for word in asked if word.casefold() not in known]
    if unknown:
        raise UnknownCheck(unknown[0], list(CHECKS))
    return [known[word.casefold()] for word in asked]


def _become(unit: Unit) -> None:
    """The unit's environment, ours going before it; then its account."""
    for name, value in unit.environment().items():
        os.environ.setdefault(name, value)
    account = unit.account
    if os.geteuid() != 0 or account is None or account.pw_uid == 0:
        return
    os.environ["HOME"] = account.pw_dir
    os.initgroups(account.pw_name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the rooms tell their log of, the findings say."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
