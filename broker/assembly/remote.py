"""Connections to other people's systems as a section of the configuration names them: of `secrets` and of `encryption.master`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from broker.config.master import MasterConfig
from broker.config.secrets import ProviderConfig
from broker.core.clock import Clock
from broker.core.file_secret import current
from broker.core.secret import Secret

if TYPE_CHECKING:
    from broker.remote.azure import AzureVault
    from broker.remote.hashicorp.login import Login
    from broker.remote.hashicorp.vault import Vault

# Where a Kubernetes pod finds the token of its service account.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
# The validators of both sections let nothing pass that lacks what its way needs.
_NOTHING = Secret("")

_Section = ProviderConfig | MasterConfig
# Makes a SPNEGO token for the vault.
Negotiate = Callable[[], Awaitable[bytes]]


def hashicorp(config: _Section, *, negotiate: Negotiate, clock: Clock) -> Vault:
    """Vault or OpenBao, logged in as the section says when it is first asked; ``negotiate`` is for a login by Kerberos."""
    # hvac and requests: a twentieth of the start and of the memory, for those alone who keep something there.
    from broker.remote.hashicorp.vault import Vault  # noqa: PLC0415
    from broker.remote.hashicorp.wire import Wire  # noqa: PLC0415

    wire = Wire(url=config.url or "", ca_file=config.ca_file, namespace=config.namespace, clock=clock)
    return Vault(wire=wire, login=_login(config, negotiate), clock=clock)


def _login(config: _Section, negotiate: Negotiate) -> Login:
    from broker.remote.hashicorp.login import AppRole, Given, Kerberos, Kubernetes  # noqa: PLC0415  # as above

    match config.auth_method:
        case "approle":
            mount = config.auth_path or "approle"
            return AppRole(role_id=config.role_id or "", secret_id=config.secret_id or _NOTHING, mount=mount)
        case "kubernetes":
            jwt = config.service_account_file or SERVICE_ACCOUNT
            return Kubernetes(role=config.role or "", jwt_file=jwt, mount=config.auth_path or "kubernetes")
        case "kerberos":
            return Kerberos(negotiate, mount=config.auth_path or "kerberos")
        case _:
            return Given(config.token or _NOTHING)


def azure(config: _Section) -> AzureVault:
    """A Key Vault of Azure, whose packages are there: `check-config` looks for them."""
    # An extra of its own: who keeps nothing there needs none of it.
    from broker.remote.azure import PUBLIC_AUTHORITY, AzureLogin, AzureVault  # noqa: PLC0415

    given = config.client_secret or _NOTHING
    login = AzureLogin(
        tenant_id=config.tenant_id or "",
        client_id=config.client_id or "",
        client_secret=lambda: current(given),
        authority=config.authority or PUBLIC_AUTHORITY,
        ca_file=config.ca_file,
    )
    return AzureVault(config.vault_url or "", login=login)
