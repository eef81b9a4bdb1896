"""The master key, as configured: one table of the places where it can lie."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from broker.assembly.aws import credentials_of
from broker.assembly.hsm import hsm_problems, token_of
from broker.assembly.remote import azure, hashicorp
from broker.config.model import Settings
from broker.config.resolve import IntegratedBootstrap
from broker.core.clock import Clock
from broker.core.errors import ConfigurationError
from broker.keys.master.distant import DistantMaster
from broker.keys.master.local import LocalMaster
from broker.keys.master.pkcs11 import Pkcs11Master
from broker.keys.master.port import MasterKey, MasterRefused, MasterUnavailable

# So long a start waits for a master that is away: longer than a vault takes to elect a leader, and shorter than systemd's
# patience with a start (TimeoutStartSec=30), so that it ends with our words and not with a signal.
START = timedelta(seconds=20)
_PAUSE = timedelta(seconds=1)
# What is wrapped to see whether it can be.
_PROBE = b"zerotrust/master-is-there/v1"
_TRANSIT = "transit"
# Tokens are for STS alone; and what stands in a vault is read when the master key has opened it.
_NO_KEYS_YET = frozenset({"web_identity", "secret"})

# The key, and what goes on beside requests.
_Made = tuple[DistantMaster, tuple[Callable[[], Awaitable[None]], ...]]


@dataclass(frozen=True, slots=True)
class Master:
    """The key, and what keeps it within reach beside requests."""

    key: MasterKey
    background: tuple[Callable[[], Awaitable[None]], ...] = ()


def master_of(settings: Settings | IntegratedBootstrap, *, clock: Clock) -> Master:
    """As configured; nothing is asked yet.

    Raises:
        ConfigurationError: It could never be asked.
    """
    section, keys = settings.encryption.master, settings.encryption.all_key_bytes()
    if section.is_local:
        return Master(LocalMaster(keys=keys))
    if problems := [*hsm_problems(settings.encryption.hsm), *master_problems(settings)]:
        raise ConfigurationError(problems)
    key, background = _MAKERS[section.provider](settings, clock)
    key.former = LocalMaster(keys=keys) if keys else None
    return Master(key, background)


async def wait_for(master: MasterKey) -> None:
    """Return when the master key can be used, however long it was away within ``START``.

    Raises:
        MasterRefused: It turns us away, and waiting does not help.
        MasterUnavailable: It is still away.
    """
    ends = asyncio.get_running_loop().time() + START.total_seconds()
    while True:
        try:
            await master.wrap(_PROBE, context=_PROBE)
        except MasterRefused:
            raise
        except MasterUnavailable:
            if asyncio.get_running_loop().time() + _PAUSE.total_seconds() > ends:
                raise
            await asyncio.sleep(_PAUSE.total_seconds())
        else:
            return


async def try_once(master: MasterKey) -> None:
    """Have it wrap something that nobody keeps, and let it go. Raises like ``wait_for``."""
    try:
        await master.wrap(_PROBE, context=_PROBE)
    finally:
        await master.close()


def master_problems(settings: Settings | IntegratedBootstrap) -> list[str]:
    """What is wrong about where the master key lies beyond its form, as far as it shows without asking."""
    provider = settings.encryption.master.provider
    if provider == "aws-kms":
        return list(_without_keys(settings))
    if provider == "azure-key-vault" and importlib.util.find_spec("azure") is None:
        fix = "pip install 'zerotrust-kerberos-link[azure]'"
        return [f"encryption.master: the packages for Azure are missing — fix: {fix}"]
    return []


def _without_keys(settings: Settings | IntegratedBootstrap) -> Iterator[str]:
    """KMS is asked with the broker's own credentials."""
    if isinstance(settings, IntegratedBootstrap):
        what = "is aws-kms, which is asked with credentials of the section `aws`: it opens no vault for the configuration itself"
        yield f"encryption.master.provider: {what} — fix: keep what the configuration refers to in another vault"
    elif settings.aws.credentials_provider in _NO_KEYS_YET:
        what = (
            f"is aws-kms, and aws.credentials_provider {settings.aws.credentials_provider} has no keys to ask it with"
        )
        yield f"encryption.master.provider: {what} — fix: give the broker keys, or keep the master key elsewhere"


def _pkcs11(settings: Settings | IntegratedBootstrap, clock: Clock) -> _Made:
    hsm = settings.encryption.hsm
    token = token_of(hsm)
    if token is None or hsm.config is None:
        raise AssertionError("a section that its validator let pass")
    return Pkcs11Master(token=token, label=hsm.config.wrapping_key_label, clock=clock), ()


def _aws_kms(settings: Settings | IntegratedBootstrap, clock: Clock) -> _Made:
    if isinstance(settings, IntegratedBootstrap):
        raise TypeError("master_problems() lets no such pass")
    # Each place's client is imported for those alone whose key lies there, and before the start asks for it.
    from broker.keys.master.aws_kms import AwsKmsMaster  # noqa: PLC0415
    from broker.remote.aws import AwsClient, AwsKms  # noqa: PLC0415

    config = settings.encryption.master.config
    region = config.region or settings.aws.region
    client = AwsClient("kms", region=region, endpoint=config.endpoint, keys=credentials_of(settings.aws))
    key_id = config.key_id or ""
    return AwsKmsMaster(kms=AwsKms(key_id, client=client), key_id=key_id, clock=clock), ()


def _vault_transit(settings: Settings | IntegratedBootstrap, clock: Clock) -> _Made:
    from broker.keys.master.vault_transit import VaultTransitMaster  # noqa: PLC0415  # as above
    from broker.remote.hashicorp.transit import Transit  # noqa: PLC0415

    config = settings.encryption.master.config
    vault = hashicorp(config, negotiate=_without_keytab, clock=clock)
    key, mount = config.key_name or "", config.mount_path or _TRANSIT
    name = "/".join(filter(None, (config.namespace, mount, key)))
    master = VaultTransitMaster(transit=Transit(vault=vault, key=key, mount=mount), name=name, clock=clock)
    return master, (vault.keep_logged_in,)


async def _without_keytab() -> bytes:
    raise AssertionError("its section names no login by Kerberos")


def _azure_key_vault(settings: Settings | IntegratedBootstrap, clock: Clock) -> _Made:
    # The packages are an extra; master_problems() has looked for them.
    from broker.keys.master.azure_key import AzureKeyMaster  # noqa: PLC0415
    from broker.remote.azure_key import AzureKey  # noqa: PLC0415

    config = settings.encryption.master.config
    name = config.key_name or ""
    key = AzureKey(name, vault=azure(config))
    return AzureKeyMaster(key=key, name=f"{config.vault_url or ''}/keys/{name}", clock=clock), ()


_MAKERS: Mapping[str, Callable[[Settings | IntegratedBootstrap, Clock], _Made]] = {
    "pkcs11": _pkcs11,
    "aws-kms": _aws_kms,
    "vault-transit": _vault_transit,
    "azure-key-vault": _azure_key_vault,
}
