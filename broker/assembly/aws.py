"""The way to AWS: the broker's own credentials, and the client that uses them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from secrets import SystemRandom, token_hex

from broker.assembly.hsm import oidc_key_of
from broker.config.aws import Aws
from broker.config.model import Settings
from broker.core.clock import Clock, SystemClock
from broker.core.errors import StsUnavailable
from broker.keys.es256 import SEED_BYTES, Es256Signer
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.remote.failure import RemoteFailure
from broker.secrets.provider import Provider
from broker.sts.base import BaseCredentials, FileCredentials, GivenCredentials, SdkCredentials, WebIdentity
from broker.sts.client import OnFailure, StsClient
from broker.sts.endpoint import Region
from broker.sts.refusals import NO_BASE
from broker.sts.vault_base import Keys, VaultCredentials
from broker.sts.web_identity import TokenIssuer

_TOKEN_ID_BYTES = 16
# Ours, and those of Vault's AWS engine.
_FIELDS = (
    ("id", ("access_key_id", "access_key")),
    ("key", ("secret_access_key", "secret_key")),
    ("token", ("session_token", "security_token")),
)
_KEY_ID = re.compile(r"\w{16,128}")


def base_credentials(settings: Settings, *, hierarchy: KeyHierarchy) -> BaseCredentials:
    """The broker's own credentials.

    Raises:
        ConfigurationError: They are in a file, and it cannot be used.
    """
    aws = settings.aws
    if aws.web_identity_issuer is not None:
        seed = partial(hierarchy.derive, Use.WEB_IDENTITY_SIGNATURE, length=SEED_BYTES)
        return WebIdentity(
            TokenIssuer(
                issuer=aws.web_identity_issuer,
                signer=oidc_key_of(settings.encryption.hsm) or Es256Signer(seed=seed()),
                clock=SystemClock(),
                token_id=lambda: token_hex(_TOKEN_ID_BYTES),
            )
        )
    if aws.credentials_secret is not None:
        return VaultCredentials(ttl=settings.secrets.cache_ttl, clock=SystemClock())
    return credentials_of(aws)


def credentials_of(aws: Aws) -> BaseCredentials:
    """Those that sign, where they are in no vault. Raises like ``base_credentials``."""
    if aws.credentials_file is not None:
        return FileCredentials(aws.credentials_file, profile=aws.profile or "default")
    if aws.access_key_id is None or aws.secret_key is None:
        return SdkCredentials(profile=aws.profile)
    return GivenCredentials(
        access_key_id=aws.access_key_id,
        secret_key=aws.secret_key.reveal(),
        session_token=aws.session_token.reveal() if aws.session_token else None,
    )


def feed(base: BaseCredentials, *, path: str | None, vault: Provider) -> None:
    """Tell credentials that stand in a vault which it is."""
    if isinstance(base, VaultCredentials) and path is not None:
        base.read_from(partial(_read_keys, vault, path))


async def _read_keys(vault: Provider, path: str) -> Keys:
    try:
        found = await vault.read(path)
    except RemoteFailure as failure:
        raise StsUnavailable(f"the vault gives no keys for the first hop: {failure}", reason=NO_BASE) from failure
    fields = {
        ours: next((found.fields[name] for name in names if name in found.fields), None) for ours, names in _FIELDS
    }
    key_id, secret_key, token = fields["id"], fields["key"], fields["token"]
    if key_id is None or secret_key is None or not _KEY_ID.fullmatch(key_id.reveal()):
        raise StsUnavailable("the secret of aws.credentials_secret holds no access_key_id with its key", reason=NO_BASE)
    lasts = None if found.lease_ends is None else (found.lease_ends - SystemClock().now()).total_seconds()
    # Vault's engine has an empty one, or null, for a user's keys.
    return Keys(key_id.reveal(), secret_key, token or None, lasts)


def documents_of(base: BaseCredentials) -> dict[str, Callable[[], dict[str, object]]]:
    """What has to be published for AWS to believe us, by path."""
    if not isinstance(base, WebIdentity):
        return {}
    issuer = base.issuer
    return {path: partial(_document, issuer, path) for path in issuer.documents()}


def _document(issuer: TokenIssuer, path: str) -> dict[str, object]:
    """As it is when somebody asks: the key may be in an HSM that comes later."""
    return issuer.documents()[path]


async def opened(base: BaseCredentials) -> None:
    """Get to know the key before AWS asks for it: it may ask an instance that has signed nothing yet."""
    if isinstance(base, WebIdentity):
        await base.issuer.ping()


def probes_of(settings: Settings, base: BaseCredentials) -> dict[str, Callable[[], Awaitable[str | None]]]:
    """What /readyz asks: the key in the HSM, where tokens are signed there."""
    config = settings.encryption.hsm.config
    if not isinstance(base, WebIdentity) or config is None or config.oidc_key_label is None:
        return {}
    return {"hsm_oidc": base.issuer.ping}


def reloads_of(base: BaseCredentials) -> dict[str, Callable[[], bool]]:
    """What the watch over files has to ask, by the name it is known under."""
    return {"aws_credentials": base.reload} if isinstance(base, FileCredentials) else {}


def sts_client(section: Aws, *, base: BaseCredentials, clock: Clock, on_failure: OnFailure) -> StsClient:
    """What makes the calls of a chain."""
    return StsClient(
        regions=[
            Region(section.region, section.sts_endpoint),
            *(Region(other.region, other.sts_endpoint) for other in section.failover),
        ],
        base=base,
        rate=section.sts_rate,
        clock=clock,
        chance=SystemRandom().random,
        on_failure=on_failure,
    )
