"""The audit log, who signs it, and who witnesses it."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from broker.assembly.hsm import hsm_problems, signing_key_of
from broker.assembly.keys import hierarchy_of
from broker.audit.cosignature import BadWitnessKey, WitnessKey
from broker.audit.log import AuditLog, Observer
from broker.audit.signer import jwks_of, signers_by
from broker.audit.sinks.durable import NotOurs, require_closed_to_others
from broker.audit.sinks.forward import Forwarder
from broker.audit.witnesses import WitnessAddress, Witnesses
from broker.config.audit import Witness
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.core.errors import ConfigurationError
from broker.keys.hierarchy import KeyHierarchy
from broker.keys.pkcs11 import HsmKey, HsmUnavailable
from broker.watch.metrics import Metrics


def audit_log(
    settings: Settings,
    *,
    hierarchy: KeyHierarchy,
    hsm: HsmKey | None,
    clock: Clock,
    observers: Sequence[Observer],
    sinks: Sequence[Forwarder] = (),
) -> AuditLog:
    """The log of this process."""
    signer, *former = signers_by(hierarchy)
    return AuditLog(
        directory=settings.audit.directory,
        signer=signer,
        former=former,
        hsm=hsm,
        clock=clock,
        observers=observers,
        sinks=sinks,
    )


def public_keys(hierarchy: KeyHierarchy, *, hsm: HsmKey | None) -> dict[str, object]:
    """What verifies the log: the keys in force and before, and that of the HSM once it was there."""
    return jwks_of(*signers_by(hierarchy), hsm=hsm.public if hsm else None)


def own_keys(settings: Settings) -> Mapping[str, Any]:
    """The same for a program of its own, which asks the HSM.

    Raises:
        ConfigurationError: It is not there.
    """
    hsm = signing_key_of(settings.encryption.hsm)
    if hsm is not None:
        try:
            asyncio.run(_found(hsm))
        except HsmUnavailable as error:
            fix = "bring it back, or give --jwks a copy of the published keys"
            raise ConfigurationError([f"encryption.hsm: {error} — fix: {fix}"]) from error
    return public_keys(hierarchy_of(settings), hsm=hsm)


def witnesses_of(settings: Settings, *, audit: AuditLog, metrics: Metrics, clock: Clock) -> Witnesses | None:
    """Those who are shown each checkpoint."""
    if not settings.audit.witnesses:
        return None
    made = Witnesses(
        [_address(section) for section in settings.audit.witnesses],
        directory=settings.audit.directory,
        keep=audit.keep_cosigned,
        record=audit.record,
        clock=clock,
    )
    audit.tell_of_checkpoints(made.offer)
    metrics.gauge(
        "broker_audit_last_cosigned_timestamp_seconds",
        "When the witness that is furthest behind signed for the audit log last",
        lambda: made.last_cosigned,
    )
    return made


def problems_of(settings: Settings) -> list[str]:
    """What is wrong about HSM and witnesses beyond its form."""
    problems = hsm_problems(settings.encryption.hsm) + _directory_problems(settings.audit.directory)
    for number, section in enumerate(settings.audit.witnesses):
        try:
            _address(section)
        except BadWitnessKey as error:
            fix = "copy the word that the witness prints when it starts"
            problems.append(f"audit.witnesses[{number}].public_key: {error} — fix: {fix}")
    return problems


def _directory_problems(directory: Path) -> list[str]:
    """One that is missing, full or read-only may be mended while we run; one that is open to others is not to be begun with."""
    try:
        status = directory.stat()
        if not stat.S_ISDIR(status.st_mode):
            return [f"audit.directory: {directory} is not a directory — fix: name a directory of the broker's own"]
        require_closed_to_others(status, directory)
    except NotOurs as error:
        what, _, fix = str(error.strerror).partition("; run: ")
        return [f"audit.directory: {directory} {what} — fix: {fix}"]
    except OSError:
        return []
    return []


async def _found(hsm: HsmKey) -> None:
    try:
        await hsm.find()
    finally:
        hsm.close()


def _address(section: Witness) -> WitnessAddress:
    return WitnessAddress(url=section.url, key=WitnessKey.parse(section.public_key))
