"""The vault behind the broker, whichever it is, and the door to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from broker.assembly.check import Checked
from broker.assembly.entrance import Entry
from broker.assembly.providers import External, external
from broker.assembly.vault import vault_of
from broker.audit.log import AuditLog
from broker.authn.signature import Signatures
from broker.authz.policies import Policies
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.issuing.secrets import SecretDesk
from broker.keys.hierarchy import KeyHierarchy
from broker.remote.failure import RemoteFailure
from broker.revocation.holds import Holds
from broker.secrets.alarm import VaultAlarm
from broker.secrets.census import Census
from broker.secrets.provider import Provider
from broker.secrets.vault import Vault
from broker.watch.metrics import Metrics

# Of the last use a minute may be lost with the process; the records of the audit log have it all the same.
_NOTE_EVERY_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The door, and what stands behind it."""

    desk: SecretDesk
    provider: Provider
    vault: Vault | None
    policies: Policies
    other: External | None
    alarm: VaultAlarm
    census: Census | None

    @property
    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """What goes on beside requests."""
        if self.other is not None:
            return self.other.background
        counting = [self.census.keep_counting] if self.census is not None else []
        return [self._keep_noting, self.alarm.keep_telling, *counting]

    @property
    def source(self) -> Provider:
        """The vault itself, without a cache before it."""
        return self.provider if self.other is None or self.other.source is None else self.other.source

    async def ping(self) -> str | None:
        """None while it answers, or nobody may ask it anything."""
        return await self.provider.ping() if self.policies.current.secret_rules else None

    async def _keep_noting(self) -> None:
        """Write down from time to time what was read when. Runs until cancelled."""
        while self.vault is not None:
            await asyncio.sleep(_NOTE_EVERY_SECONDS)
            if not self.policies.current.secret_rules:
                continue
            try:
                await self.vault.note_uses()
            except RemoteFailure as failure:
                _log.warning("the vault does not take notes of uses: %s", failure)

    async def close(self) -> None:
        """Let it go."""
        try:
            await self.provider.close()
        except RemoteFailure as failure:
            _log.warning("the vault is left as it is: %s", failure)


def secrets_of(
    settings: Settings,
    *,
    checked: Checked,
    hierarchy: KeyHierarchy,
    entry: Entry,
    holds: Holds,
    audit: AuditLog,
    metrics: Metrics,
    clock: Clock,
) -> Secrets:
    """As configured."""
    policies, other = checked.policies, external(settings.secrets, keys=checked.keys, base=checked.base, clock=clock)
    alarm, census = VaultAlarm(audit=audit, clock=clock), None
    provider: Provider
    if other is None:
        provider = vault = vault_of(settings, hierarchy=hierarchy, clock=clock, alarm=alarm)
        census = Census(vault=vault, is_wanted=lambda: bool(policies.current.secret_rules))
        _add_gauges(metrics, alarm, census)
    else:
        provider, vault = other.provider, None
    desk = SecretDesk(
        entrance=entry.entrance,
        policies=policies,
        holds=holds,
        signatures=Signatures(
            keys=checked.secret_keys,
            required=settings.secrets.require_signed_requests,
            proofs=entry.proofs,
            clock=clock,
        ),
        provider=provider,
        vault=vault,
        clock=clock,
    )
    return Secrets(
        desk=desk, provider=provider, vault=vault, policies=policies, other=other, alarm=alarm, census=census
    )


def _add_gauges(metrics: Metrics, alarm: VaultAlarm, census: Census) -> None:
    metrics.of_each(
        "broker_secrets",
        "Secrets in the integrated vault, by state, as of the last count, a few minutes ago",
        "state",
        lambda: census.states,
    )
    metrics.gauge(
        "broker_secrets_rotation_overdue", "Secrets that want a new version, as of the same", lambda: census.overdue
    )
    metrics.counter(
        "broker_vault_tampered", "Rows of the vault that were not what was put there", lambda: float(alarm.found)
    )
