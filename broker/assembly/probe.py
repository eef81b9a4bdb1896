"""The probe of external IDs as a program of its own, with the broker's credentials and records beside the broker's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from broker.assembly.aws import base_credentials, sts_client
from broker.audit.log import AuditLog
from broker.audit.signer import signer_of
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.core.errors import ConfigurationError
from broker.trust.finding import Finding
from broker.trust.probe import Prober


def probe(settings: Settings, *, clock: Clock) -> Sequence[Finding]:
    """Try every hop of the configuration.

    Raises:
        ConfigurationError: Not to be run by this account, or the broker's own AWS credentials cannot be used.
        AuditUnavailable: A record could not be written; nothing was tried on it.
    """
    _require_the_brokers_account(settings.audit.directory)
    return asyncio.run(_probe(settings, clock))


async def _probe(settings: Settings, clock: Clock) -> Sequence[Finding]:
    signer = signer_of(settings.encryption.key_bytes())
    audit = AuditLog(directory=settings.audit.directory, signer=signer, clock=clock, observers=[])
    sts = sts_client(
        settings.aws, base=base_credentials(settings), clock=clock, on_failure=lambda _region, _reason: None
    )
    await audit.open()
    try:
        by_token = settings.aws.web_identity_issuer is not None
        return await Prober(sts=sts, audit=audit, by_token=by_token).run(settings.roles)
    finally:
        await audit.close()
        sts.close()


def _require_the_brokers_account(directory: Path) -> None:
    """Record files of another account would lock the broker out of its own directory at its next start."""
    try:
        owner = directory.stat().st_uid
    except OSError as error:
        what = f"{directory}: cannot be read ({error.strerror})"
        raise ConfigurationError([f"{what} — fix: start the broker once, and probe as its account"]) from error
    if owner != os.geteuid():
        what = f"{directory}: belongs to user id {owner}, and the probe writes records there"
        raise ConfigurationError(
            [f"{what} — fix: run it as that account: sudo -u '#{owner}' zerotrust-admin doctor --probe"]
        )
