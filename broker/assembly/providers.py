"""Vaults of others: by the name of their provider, how one is made of the configuration.

`PROVIDERS` is the one table; the integrated vault is not in it, because it is ours.
Each maker imports its client itself: they are a good part of the start and of the memory, and a broker has one at most. It does
so at the start, before anybody is served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from broker.assembly.clouds import key_vault, secrets_manager
from broker.assembly.remote import SERVICE_ACCOUNT, Negotiate, hashicorp
from broker.authn.initiator import Initiator
from broker.authn.keytab import AcceptorKeys
from broker.config.secrets import ProviderConfig, Secrets
from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.remote.failure import Refused
from broker.secrets.cached import CachedProvider
from broker.secrets.provider import Provider
from broker.sts.base import BaseCredentials

# The engine that `vault server -dev` and most guides mount.
_KV_MOUNT = "secret"


@dataclass(frozen=True, slots=True)
class External:
    """A vault of others, cached, and what goes on beside requests to keep it. ``source``: without the cache."""

    provider: Provider
    background: Sequence[Callable[[], Awaitable[None]]] = ()
    source: Provider | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What makers are given. ``keys``: the broker's own in Kerberos; None where nobody has any, as on an operator's machine.

    ``base``: its own at AWS; None where the configuration says nothing of them, for what AWS's SDK finds by itself.
    """

    config: ProviderConfig
    keys: AcceptorKeys | None
    clock: Clock
    base: BaseCredentials | None


def external(
    section: Secrets, *, keys: AcceptorKeys | None, clock: Clock, base: BaseCredentials | None
) -> External | None:
    """The vault that the section names; None for the integrated one."""
    if section.provider == "integrated":
        return None
    made = PROVIDERS[section.provider](Parts(section.config, keys, clock, base))
    cached = CachedProvider(made.provider, ttl=section.cache_ttl, clock=clock)
    return External(cached, made.background, source=made.provider)


def _hashicorp(parts: Parts) -> External:
    from broker.secrets.providers.hashicorp import HashicorpProvider  # noqa: PLC0415  # see the head of the module

    config = parts.config
    provider = HashicorpProvider(
        vault=hashicorp(config, negotiate=_negotiate(parts), clock=parts.clock),
        mount=config.mount_path or _KV_MOUNT,
        leased_mounts=config.leased_mounts or (),
        clock=parts.clock,
    )
    return External(provider, [provider.keep_logged_in])


def _negotiate(parts: Parts) -> Negotiate:
    """Tickets of the broker's own principal for ``HTTP/HOST`` of the vault, in the broker's realm."""
    if parts.keys is None:
        return _without_keys
    initiator = Initiator(keys=parts.keys, realm=parts.keys.keys[0].realm)
    return partial(initiator.negotiate, f"HTTP/{urlsplit(parts.config.url or '').hostname}")


def _cyberark(parts: Parts) -> External:
    from broker.remote.conjur import Conjur  # noqa: PLC0415  # see the head of the module
    from broker.secrets.providers.cyberark import CyberArkProvider  # noqa: PLC0415

    config = parts.config
    conjur = Conjur(
        url=config.url or "",
        account=config.account or "",
        login=config.login or "",
        api_key=config.api_key or Secret(""),
        ca_file=str(config.ca_file) if config.ca_file else None,
        clock=parts.clock,
    )
    return External(CyberArkProvider(conjur=conjur))


def _kubernetes(parts: Parts) -> External:
    from broker.remote.kubernetes import Cluster, token_of_file  # noqa: PLC0415  # see the head of the module
    from broker.secrets.providers.kubernetes import KubernetesProvider  # noqa: PLC0415

    config = parts.config
    given = config.token
    cluster = Cluster(
        url=config.url or "",
        token=token_of_file(config.service_account_file or SERVICE_ACCOUNT) if given is None else lambda: given,
        ca_file=str(config.ca_file) if config.ca_file else None,
    )
    return External(KubernetesProvider(cluster=cluster, namespace=config.namespace or ""))


async def _without_keys() -> bytes:
    raise Refused("the vault is logged in to with the broker's keytab, which is not there yet", reason="no_keytab")


PROVIDERS: Mapping[str, Callable[[Parts], External]] = {
    "aws": lambda parts: External(secrets_manager(parts.config, base=parts.base)),
    "azure": lambda parts: External(key_vault(parts.config)),
    "cyberark": _cyberark,
    "hashicorp": _hashicorp,
    "kubernetes": _kubernetes,
}
