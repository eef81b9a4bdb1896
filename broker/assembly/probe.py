"""The probe of external IDs as a program of its own, with the broker's credentials and records beside the broker's."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from broker.assembly.audit import audit_log
from broker.assembly.aws import base_credentials, feed, sts_client
from broker.assembly.clouds import problems_of
from broker.assembly.hsm import signing_key_of
from broker.assembly.keys import read_keys
from broker.assembly.notification import Postbox
from broker.assembly.providers import external
from broker.assembly.vault import vault_of
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.core.errors import ConfigurationError
from broker.keys.hierarchy import KeyHierarchy
from broker.sts.client import StsClient
from broker.trust.finding import Finding
from broker.trust.probe import Prober

_log = logging.getLogger(__name__)


def probe(settings: Settings, *, clock: Clock, bends: bool = True) -> Sequence[Finding]:
    """Try every hop of the configuration; ``bends``: without its external ID and with a wrong one, too.

    Raises:
        ConfigurationError: Not to be run by this account, or the broker's own AWS credentials cannot be used.
        AuditUnavailable: A record could not be written; nothing was tried on it.
    """
    _require_the_brokers_account(settings.audit.directory)
    return asyncio.run(_probe(settings, clock, bends=bends))


def caller(settings: Settings, *, clock: Clock) -> str:
    """The ARN of the user or role session whose credentials the broker has.

    Raises:
        ConfigurationError: They cannot be used.
        StsError: AWS does not say.
    """
    return asyncio.run(_caller(settings, clock))


async def _caller(settings: Settings, clock: Clock) -> str:
    async with _sts(settings, await read_keys(settings), clock) as sts:
        return await sts.caller()


@asynccontextmanager
async def _sts(settings: Settings, hierarchy: KeyHierarchy, clock: Clock) -> AsyncIterator[StsClient]:
    if problems := problems_of(settings):
        raise ConfigurationError(problems)
    base = base_credentials(settings, hierarchy=hierarchy)
    vault = None
    # To open the vault is to write beside it: where nothing of it is wanted, it stays shut.
    if settings.aws.credentials_secret is not None:
        other = external(settings.secrets, keys=None, clock=clock, base=base)
        vault = vault_of(settings, hierarchy=hierarchy, clock=clock) if other is None else other.provider
        feed(base, path=settings.aws.credentials_secret, vault=vault)
    sts = sts_client(settings.aws, base=base, clock=clock, on_failure=lambda _region, _reason: None)
    try:
        yield sts
    finally:
        sts.close()
        if vault is not None:
            await vault.close()


async def _probe(settings: Settings, clock: Clock, *, bends: bool) -> Sequence[Finding]:
    hsm, hierarchy = signing_key_of(settings.encryption.hsm), await read_keys(settings)
    postbox = Postbox(settings, hierarchy=hierarchy)
    audit = audit_log(settings, hierarchy=hierarchy, hsm=hsm, clock=clock, observers=[postbox.observe])
    await audit.open()
    try:
        by_token = settings.aws.web_identity_issuer is not None
        async with _sts(settings, hierarchy, clock) as sts:
            return await Prober(sts=sts, audit=audit, by_token=by_token, bends=bends).run(settings.roles)
    finally:
        await audit.close()
        if hsm is not None:
            hsm.close()
        _leave(postbox)


def _leave(postbox: Postbox) -> None:
    """For the broker of this host to tell. What the probe found is printed and recorded all the same."""
    try:
        postbox.leave()
    except OSError as error:
        _log.error("what was found is told to nobody: %s", error)


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
