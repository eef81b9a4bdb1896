"""The vault behind the broker, whichever it is, and the door to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker.assembly.entrance import Entry
from broker.assembly.operators import registered_keys
from broker.assembly.providers import External, external
from broker.assembly.vault import vault_of
from broker.authn.keytab import AcceptorKeys
from broker.authn.signature import Registered, Signatures
from broker.authz.policies import Policies
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.core.errors import ConfigurationError
from broker.issuing.secrets import SecretDesk
from broker.keys.hierarchy import KeyHierarchy
from broker.remote.failure import RemoteFailure
from broker.revocation.holds import Holds
from broker.secrets.provider import Provider
from broker.secrets.vault import Vault
from broker.sts.base import BaseCredentials

# Of the last use a minute may be lost with the process; the records of the audit log have it all the same.
_NOTE_EVERY_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keeping:
    """The door, and what stands behind it."""

    desk: SecretDesk
    provider: Provider
    vault: Vault | None
    policies: Policies
    other: External | None

    @property
    def background(self) -> list[Callable[[], Awaitable[None]]]:
        """What goes on beside requests."""
        return [self.keep_noting, *(self.other.background if self.other else ())]

    @property
    def source(self) -> Provider:
        """The vault itself, without a cache before it."""
        return self.provider if self.other is None or self.other.source is None else self.other.source

    async def ping(self) -> str | None:
        """None while it answers, or nobody may ask it anything."""
        return await self.provider.ping() if self.policies.current.secret_rules else None

    async def keep_noting(self) -> None:
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


def keeping_of(
    settings: Settings,
    *,
    hierarchy: KeyHierarchy,
    entry: Entry,
    acceptor_keys: AcceptorKeys,
    base: BaseCredentials,
    keys: list[Registered],
    policies: Policies,
    holds: Holds,
    clock: Clock,
) -> Keeping:
    """As configured.

    ``keys`` are those that requests for secrets may be signed with; ``acceptor_keys`` and ``base`` the broker's own, in Kerberos
    and at AWS.
    """
    vault: Vault | None = None
    other = external(settings.secrets, keys=acceptor_keys, base=base, clock=clock)
    if other is not None:
        provider = other.provider
    else:
        provider = vault = vault_of(settings, hierarchy=hierarchy, clock=clock)
    desk = SecretDesk(
        entrance=entry.entrance,
        policies=policies,
        holds=holds,
        signatures=Signatures(
            keys=keys, required=settings.secrets.require_signed_requests, proofs=entry.proofs, clock=clock
        ),
        provider=provider,
        vault=vault,
        clock=clock,
    )
    return Keeping(desk=desk, provider=provider, vault=vault, policies=policies, other=other)


def secret_signing_keys(settings: Settings, *, of_operators: list[Registered]) -> list[Registered]:
    """Those that requests for secrets may be signed with: those of the section, and the operators'.

    Raises:
        ConfigurationError: One is none or has two owners, or there is none where one is needed.
    """
    own = registered_keys(settings.secrets.signing_keys, section="secrets")
    owners = {one.key.id: one.owner for one in of_operators}
    if any(owners.get(one.key.id, one.owner) != one.owner for one in own):
        what = "secrets.signing_keys: holds the key of an operator under another name"
        raise ConfigurationError([f"{what} — fix: give each person a key of their own"])
    found = [*of_operators, *(one for one in own if one.key.id not in owners)]
    if settings.secrets.require_signed_requests and not found:
        what = "secrets.require_signed_requests: there is no key, so that nobody could sign a request"
        raise ConfigurationError([f"{what} — fix: add secrets.signing_keys, or set it to false"])
    return found
