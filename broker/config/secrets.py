"""The section `secrets`: which vault stands behind the broker, and how it is reached.

The form is the guide's: a provider by name, and under `config` the keys of that provider and no other's.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.admin import SigningKey
from broker.config.fault import fault
from broker.config.provided import (
    AzureUrl,
    Keys,
    KmsKey,
    MountPath,
    Region,
    TenantId,
    Url,
    Word,
    fitting,
    fitting_login,
)
from broker.config.secret_rules import SecretRules
from broker.config.section import Section
from broker.config.values import (
    AbsolutePath,
    Authorities,
    Duration,
    SecretText,
    Switch,
)

_KEYS: Keys = {
    "integrated": (frozenset(), frozenset()),
    "hashicorp": (
        frozenset({"url", "auth_method"}),
        frozenset({"role_id", "secret_id", "token", "role", "service_account_file"})
        | frozenset({"auth_path", "mount_path", "leased_mounts", "namespace", "ca_file"}),
    ),
    "aws": (frozenset({"region"}), frozenset({"kms_key_id", "endpoint"})),
    "azure": (
        frozenset({"vault_url", "tenant_id", "client_id", "client_secret"}),
        frozenset({"authority", "ca_file"}),
    ),
    "cyberark": (frozenset({"url", "account", "login", "api_key"}), frozenset({"ca_file"})),
    "kubernetes": (frozenset({"url", "namespace"}), frozenset({"token", "service_account_file", "ca_file"})),
}


class ProviderConfig(Section):
    """How the provider is reached. Each provider takes the keys that name it, and no others."""

    url: Url | None = Field(default=None, description="`hashicorp`, `cyberark`, `kubernetes`: the server's URL.")
    auth_method: Literal["approle", "token", "kerberos", "kubernetes"] | None = Field(
        default=None, description="`hashicorp`: how the broker logs in: `approle`, `token`, `kerberos` or `kubernetes`."
    )
    role_id: Word | None = Field(default=None, description="`hashicorp`, with `approle`: the role's id.")
    secret_id: SecretText | None = Field(
        default=None, description="Secret. `hashicorp`, with `approle`: its secret id."
    )
    token: SecretText | None = Field(
        default=None,
        description="Secret. `hashicorp`, with `token`: the token; `kubernetes`: that of the service account. Usually as "
        "`token_file`.",
    )
    role: Word | None = Field(default=None, description="`hashicorp`, with `kubernetes`: the role to log in to.")
    service_account_file: AbsolutePath | None = Field(
        default=None,
        description="`hashicorp`, with `kubernetes`, and `kubernetes`: the pod's token, read anew at each use. Without it: where "
        "Kubernetes puts it.",
    )
    auth_path: MountPath | None = Field(
        default=None, description="`hashicorp`: where the way to log in is mounted. Without it: at its own name."
    )
    mount_path: MountPath | None = Field(
        default=None, description="`hashicorp`: where the KV engine (version 2) is mounted. Without it: `secret`."
    )
    leased_mounts: Annotated[tuple[MountPath, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="`hashicorp`: engines that make credentials when read: with `[database]`, the path `database/creds/app` is "
        "read there and not in the KV engine. Never cached.",
    )
    namespace: Word | None = Field(default=None, description="`hashicorp`, `kubernetes`: the namespace.")
    region: Region | None = Field(default=None, description="`aws`: the region of Secrets Manager.")
    kms_key_id: KmsKey | None = Field(
        default=None,
        description="`aws`: the KMS key that new secrets are encrypted with: its id, its ARN, or `alias/NAME`. Without it: "
        "`aws/secretsmanager`.",
    )
    endpoint: Url | None = Field(
        default=None,
        description="`aws`: another endpoint: a VPC endpoint by https, or a test double by http on loopback. Without it: the "
        "region's.",
    )
    vault_url: AzureUrl | None = Field(default=None, description="`azure`: the vault: `https://NAME.vault.azure.net`.")
    tenant_id: TenantId | None = Field(
        default=None, description="`azure`: the tenant that the application is registered in."
    )
    client_id: Word | None = Field(default=None, description="`azure`: the application's id.")
    client_secret: SecretText | None = Field(
        default=None,
        description="Secret. `azure`: the application's secret. As `client_secret_file`, read anew when Entra ID refuses it.",
    )
    authority: AzureUrl | None = Field(
        default=None,
        description="`azure`: where tokens come from, in another cloud: `https://login.microsoftonline.us`.",
    )
    account: Word | None = Field(default=None, description="`cyberark`: the Conjur account.")
    login: Word | None = Field(default=None, description="`cyberark`: who logs in: `host/broker`.")
    api_key: SecretText | None = Field(default=None, description="Secret. `cyberark`: its API key.")
    ca_file: Authorities | None = Field(
        default=None, description="PEM file of the CAs that sign the server's certificate. Without it: the system's."
    )


def _of_provider(config: ProviderConfig, info: ValidationInfo) -> ProviderConfig:
    fitting(config, info, _KEYS)
    if (
        info.data.get("provider") == "kubernetes"
        and config.token is not None
        and config.service_account_file is not None
    ):
        raise fault("has token and service_account_file", "keep one of the two")
    if config.auth_method is not None:
        fitting_login(config, config.auth_method)
    return config


class Secrets(Section):
    """The vault that the broker keeps secrets in and takes its own from."""

    provider: Literal["integrated", "hashicorp", "aws", "azure", "cyberark", "kubernetes"] = Field(
        default="integrated",
        description="`integrated`, `hashicorp` (Vault and OpenBao), `aws` (Secrets Manager), `azure` (Key Vault), `cyberark` "
        "(Conjur) or `kubernetes`.",
    )
    config: Annotated[ProviderConfig, AfterValidator(_of_provider)] = Field(
        default=ProviderConfig(), validate_default=True, description="How the provider is reached."
    )
    store: Literal["sqlite", "redis"] = Field(
        default="sqlite",
        description="`integrated`: where secrets lie, sealed. `sqlite`: in `vault.sqlite` of the state directory, for the "
        "instances of this host; `redis`: in the Redis of the section `redis`, for all hosts. That Redis must not evict, and "
        "must keep what it is given on disk.",
    )
    cache_ttl: Duration = Field(
        default=timedelta(minutes=5),
        description="For how long a value read from another vault is used without asking again.",
    )
    rules: SecretRules = Field(
        default=(), description="Who may do what with which secrets. What no rule allows is denied, to operators too."
    )
    require_signed_requests: Switch = Field(
        default=False,
        description="Requests for secrets must be signed (RFC 9421). Otherwise only what is signed is checked.",
    )
    signing_keys: tuple[SigningKey, ...] = Field(
        default=(),
        description="The keys that requests for secrets are signed with, beside those of `admin.signing_keys`; anybody may have "
        "several.",
    )
