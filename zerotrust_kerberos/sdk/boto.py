"""boto3 and botocore with the broker's credentials, renewed by themselves for as long as the ticket lives.

The only module of this side that imports boto3, and only for who asks for it: the base installation does without.
"""

from __future__ import annotations

try:
    import boto3
    import botocore.session
    from botocore.credentials import CredentialProvider, CredentialResolver, ReadOnlyCredentials
    from botocore.credentials import Credentials as BotocoreCredentials
except ImportError as error:
    raise ImportError("boto3_session needs boto3 — run: pip install boto3") from error

from zerotrust_kerberos.sdk.keeper import Keeper
from zerotrust_kerberos.sdk.secret_manager import SecretManager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.sdk.credentials import Credentials

_METHOD = "zerotrust"


def boto3_session(
    *,
    role: str | None = None,
    role_arn: str | None = None,
    scope: str | None = None,
    reason: str | None = None,
    region_name: str | None = None,
    manager: SecretManager | None = None,
) -> boto3.session.Session:
    """A session of boto3 that signs as a role for as long as there is a ticket.

    The first credentials are asked for at once, so that what is wrong shows here. No other place that boto3 looks for credentials
    in is looked into. Threads may share the session's clients; a forked child asks for credentials of its own.

    Args:
        role: The role's name at the broker, such as ``developer``.
        role_arn: Or its ARN.
        scope: A scope of the role.
        reason: What for, where a rule asks.
        region_name: As boto3 takes it.
        manager: Which broker, where the settings of this machine do not say.

    Raises:
        ZeroTrustError: There are no credentials; from the session's clients too, when there are none any more.
    """
    provider = ZeroTrustProvider(role=role, role_arn=role_arn, scope=scope, reason=reason, manager=manager)
    provider.load().get_frozen_credentials()
    session = botocore.session.Session()
    session.register_component("credential_provider", CredentialResolver([provider]))
    return boto3.session.Session(botocore_session=session, region_name=region_name)


class ZeroTrustProvider(CredentialProvider):  # type: ignore[misc]  # botocore is not typed
    """A credential provider of botocore, for those who make their sessions themselves."""

    METHOD = _METHOD
    CANONICAL_NAME = "ZeroTrust"

    def __init__(
        self,
        *,
        role: str | None = None,
        role_arn: str | None = None,
        scope: str | None = None,
        reason: str | None = None,
        manager: SecretManager | None = None,
    ) -> None:
        """As ``boto3_session``; nothing is asked yet."""
        super().__init__()
        broker = manager or SecretManager()
        keeper = Keeper(lambda: broker.get_aws_credentials(role_arn, role=role, scope=scope, reason=reason))
        self._credentials = _Renewed(keeper)

    def load(self) -> BotocoreCredentials:
        """The credentials, the same for all sessions of this provider."""
        return self._credentials


class _Renewed(BotocoreCredentials):  # type: ignore[misc]  # botocore is not typed
    """What botocore signs with. Each reading is of the credentials of that moment; signers read all of them at once."""

    method = _METHOD

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    @property
    def access_key(self) -> str:
        return self._keeper.current().access_key_id

    @property
    def secret_key(self) -> str:
        return self._keeper.current().secret_access_key

    @property
    def token(self) -> str:
        return self._keeper.current().session_token

    @property
    def account_id(self) -> str:
        return self._keeper.current().account_id

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return _frozen(self._keeper.current())


def _frozen(kept: Credentials) -> ReadOnlyCredentials:
    return ReadOnlyCredentials(kept.access_key_id, kept.secret_access_key, kept.session_token, kept.account_id)
