"""The way to AWS: the broker's own credentials, and the client that uses them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from secrets import SystemRandom, token_hex

from broker.config.aws import Aws
from broker.config.model import Settings
from broker.core.clock import Clock, SystemClock
from broker.keys.es256 import SEED_BYTES, Es256Signer
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.sts.base import BaseCredentials, FileCredentials, GivenCredentials, SdkCredentials, WebIdentity
from broker.sts.client import OnFailure, StsClient
from broker.sts.endpoint import Region
from broker.sts.web_identity import TokenIssuer

_TOKEN_ID_BYTES = 16


def base_credentials(settings: Settings, *, hierarchy: KeyHierarchy) -> BaseCredentials:
    """The broker's own credentials.

    Raises:
        ConfigurationError: They are in a file, and it cannot be used.
    """
    aws = settings.aws
    if aws.web_identity_issuer is not None:
        seed = hierarchy.derive(Use.WEB_IDENTITY_SIGNATURE, length=SEED_BYTES)
        return WebIdentity(
            TokenIssuer(
                issuer=aws.web_identity_issuer,
                signer=Es256Signer(seed=seed),
                clock=SystemClock(),
                token_id=lambda: token_hex(_TOKEN_ID_BYTES),
            )
        )
    if aws.credentials_file is not None:
        return FileCredentials(aws.credentials_file, profile=aws.profile or "default")
    if aws.access_key_id is None or aws.secret_key is None:
        return SdkCredentials(profile=aws.profile)
    return GivenCredentials(
        access_key_id=aws.access_key_id,
        secret_key=aws.secret_key.reveal(),
        session_token=aws.session_token.reveal() if aws.session_token else None,
    )


def documents_of(base: BaseCredentials) -> dict[str, Callable[[], dict[str, object]]]:
    """What has to be published for AWS to believe us, by path."""
    documents = base.issuer.documents() if isinstance(base, WebIdentity) else {}
    return {path: partial(dict, document) for path, document in documents.items()}


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
