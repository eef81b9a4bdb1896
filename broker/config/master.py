"""The section `encryption.master`: where the master key lies that wraps all others, when it is not a file of the broker's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

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
from broker.config.section import Section
from broker.config.values import AbsolutePath, Authorities, SecretText

_KEYS: Keys = {
    "file": (frozenset(), frozenset()),
    "pkcs11": (frozenset(), frozenset()),
    "aws-kms": (frozenset({"key_id"}), frozenset({"region", "endpoint"})),
    "vault-transit": (
        frozenset({"url", "auth_method", "key_name"}),
        frozenset({"role_id", "secret_id", "token", "role", "service_account_file"})
        | frozenset({"auth_path", "mount_path", "namespace", "ca_file"}),
    ),
    "azure-key-vault": (
        frozenset({"vault_url", "tenant_id", "client_id", "client_secret", "key_name"}),
        frozenset({"authority", "ca_file"}),
    ),
}


class MasterConfig(Section):
    """How the master key is reached. Each provider takes the keys that name it, and no others."""

    key_name: Word | None = Field(default=None, description="`vault-transit`, `azure-key-vault`: the key's name.")
    key_id: KmsKey | None = Field(
        default=None, description="`aws-kms`: the ARN of a symmetric key, or of an alias. It may lie in any account."
    )
    region: Region | None = Field(default=None, description="`aws-kms`: the key's region. Without it: `aws.region`.")
    endpoint: Url | None = Field(default=None, description="`aws-kms`: another endpoint, for tests.")
    url: Url | None = Field(default=None, description="`vault-transit`: the server's URL (Vault or OpenBao).")
    auth_method: Literal["approle", "token", "kubernetes"] | None = Field(
        default=None,
        description="`vault-transit`: how the broker logs in: `approle`, `token` or `kubernetes`.",
    )
    role_id: Word | None = Field(default=None, description="`vault-transit`, with `approle`: the role's id.")
    secret_id: SecretText | None = Field(
        default=None, description="Secret. `vault-transit`, with `approle`: its secret id."
    )
    token: SecretText | None = Field(
        default=None,
        description="Secret. `vault-transit`, with `token`: the token.",
    )
    role: Word | None = Field(default=None, description="`vault-transit`, with `kubernetes`: the role to log in to.")
    service_account_file: AbsolutePath | None = Field(
        default=None,
        description="`vault-transit`, with `kubernetes`: the pod's token, read at each login. Without it: Kubernetes' own.",
    )
    auth_path: MountPath | None = Field(
        default=None, description="`vault-transit`: where the way to log in is mounted. Without it: at its own name."
    )
    mount_path: MountPath | None = Field(
        default=None, description="`vault-transit`: where the transit engine is mounted. Without it: `transit`."
    )
    namespace: Word | None = Field(default=None, description="`vault-transit`: the namespace.")
    vault_url: AzureUrl | None = Field(
        default=None, description="`azure-key-vault`: the URL of the vault or managed HSM."
    )
    tenant_id: TenantId | None = Field(
        default=None, description="`azure-key-vault`: the tenant that the application is registered in."
    )
    client_id: Word | None = Field(default=None, description="`azure-key-vault`: the application's id.")
    client_secret: SecretText | None = Field(
        default=None, description="Secret. `azure-key-vault`: the application's secret."
    )
    authority: AzureUrl | None = Field(
        default=None, description="`azure-key-vault`: where tokens come from, in another cloud."
    )
    ca_file: Authorities | None = Field(
        default=None,
        description="`vault-transit`, `azure-key-vault`: PEM file of the CAs that sign the server's certificate. Without it: the "
        "system's.",
    )


def _of_provider(config: MasterConfig, info: ValidationInfo) -> MasterConfig:
    fitting(config, info, _KEYS)
    if config.auth_method is not None:
        fitting_login(config, config.auth_method)
    return config


class Master(Section):
    """The key that wraps all others: it leaves the place where it lies only where that is a file."""

    provider: Literal["file", "pkcs11", "aws-kms", "vault-transit", "azure-key-vault"] = Field(
        default="file",
        description="`file`: `encryption.key` is it. `pkcs11`: a key in `encryption.hsm`. `aws-kms`, `vault-transit`, "
        "`azure-key-vault`: a key there. With any but `file`, `encryption.key` is a master key of before, if it is given.",
    )
    config: Annotated[MasterConfig, AfterValidator(_of_provider)] = Field(
        default=MasterConfig(), validate_default=True, description="How the master key is reached."
    )

    @property
    def is_local(self) -> bool:
        """Whether this process holds it."""
        return self.provider == "file"
