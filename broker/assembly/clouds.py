"""The vaults of AWS and Azure, as the section `secrets` names them."""

from __future__ import annotations

import importlib.util
from uuid import uuid4

from broker.assembly.remote import azure
from broker.config.model import Settings
from broker.config.secrets import ProviderConfig
from broker.secrets.provider import Provider
from broker.sts.base import BaseCredentials, SdkCredentials

_PLACE = "secrets.provider"


def problems_of(settings: Settings) -> list[str]:
    """What the provider needs and has not."""
    provider = settings.secrets.provider
    if provider == "azure" and importlib.util.find_spec("azure") is None:
        what = f"{_PLACE}: azure needs Microsoft's SDK, which is not installed"
        return [f"{what} — fix: pip install 'zerotrust-kerberos-link[azure]'"]
    if provider == "aws" and settings.aws.credentials_provider == "web_identity":
        what = f"{_PLACE}: aws is asked with keys, and with aws.credentials_provider web_identity the broker has none"
        return [f"{what} — fix: set aws.credentials_provider to default or another that has keys"]
    if provider == "aws" and settings.aws.credentials_secret is not None:
        what = "aws.credentials_secret: stands in AWS Secrets Manager, which is reached with these very keys"
        return [f"{what} — fix: keep them in another vault, or set credentials_provider to default"]
    return []


def secrets_manager(config: ProviderConfig, *, base: BaseCredentials | None) -> Provider:
    """AWS Secrets Manager.

    ``base``: the broker's own credentials; None where there is no broker, for what AWS's SDK finds by itself.
    """
    from broker.remote.aws import AwsClient  # noqa: PLC0415  # for those alone who keep something there
    from broker.secrets.providers.aws import SecretsManager  # noqa: PLC0415

    client = AwsClient(
        "secretsmanager",
        region=config.region or "",
        endpoint=config.endpoint,
        keys=SdkCredentials(profile=None) if base is None else base,
    )
    return SecretsManager(client=client, kms_key_id=config.kms_key_id, token=lambda: str(uuid4()))


def key_vault(config: ProviderConfig) -> Provider:
    """Azure Key Vault."""
    # An extra of its own: who keeps nothing there needs none of it.
    from broker.remote.azure_secrets import AzureSecrets  # noqa: PLC0415
    from broker.secrets.providers.azure import KeyVault  # noqa: PLC0415

    return KeyVault(secrets=AzureSecrets(azure(config)))
