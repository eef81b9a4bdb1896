"""The way to AWS: the broker's own credentials, and the client that uses them."""

from __future__ import annotations

from broker.config.aws import Aws
from broker.core.clock import Clock
from broker.sts.client import BaseCredentials, StsClient, default_credentials, environment_credentials


def sts_client(section: Aws, *, clock: Clock) -> StsClient:
    """What makes the calls of a chain."""
    return StsClient(region=section.region, endpoint=section.sts_endpoint, base=_base_credentials(section), clock=clock)


def _base_credentials(aws: Aws) -> BaseCredentials:
    if aws.access_key_id is None or aws.secret_key is None:
        return default_credentials()
    return environment_credentials(
        access_key_id=aws.access_key_id,
        secret_key=aws.secret_key.reveal(),
        session_token=aws.session_token.reveal() if aws.session_token else None,
    )
