"""Documents sealed by a vault's transit engine: the clients for one command, opened for it and closed with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from broker.admin.assembled import SealedIn, TransitAccess
from broker.core.clock import SystemClock
from broker.core.errors import BrokerError, SecretNotFound, SecretsRejected, SecretsUnavailable, VersionConflict
from broker.core.private_file import read_private
from broker.core.secret import Secret
from broker.remote.failure import Conflict, Missing, RemoteFailure, Unreachable
from broker.remote.hashicorp.login import Given, Login
from broker.remote.hashicorp.transit import Transit
from broker.remote.hashicorp.vault import Vault
from broker.remote.hashicorp.wire import Wire
from broker.remote.kubernetes import Cluster, token_of_file
from broker.remote.on_demand import OnDemand
from broker.secrets import transit as documents
from broker.secrets.places import FilePlace, KubernetesPlace
from broker.secrets.transit import Place

_T = TypeVar("_T")
# A vault token has some 100 characters, one with policies inside (a batch token) up to 2 kB.
_TOKEN_FILE_MAX = 16 * 1024
_ERRORS: Sequence[tuple[type[RemoteFailure], type[BrokerError]]] = (
    (Unreachable, SecretsUnavailable),
    (Missing, SecretNotFound),
    (Conflict, VersionConflict),
    (RemoteFailure, SecretsRejected),
)


@dataclass(frozen=True, slots=True)
class Documents:
    """What ``zerotrust-admin secrets seal``, ``unseal`` and ``rewrap`` do. Each call logs in, works, and gives its login back.

    What they raise: ``SecretsUnavailable``, ``SecretNotFound``, ``VersionConflict``, ``SecretsRejected``; ``PermissionProblem``
    for a token file open to others; ``ValueError`` and ``LookupError`` for a document that is not what it should be.
    """

    access: TransitAccess

    def seal(self, document: bytes, place: SealedIn, *, replace: bool, validate: bool) -> int:
        """See ``secrets.transit.seal``."""

        async def work(transit: Transit, places: Sequence[Place]) -> int:
            return await documents.seal(document, transit=transit, place=places[0], replace=replace, validate=validate)

        return self._run(work, [place])

    def unseal(self, place: SealedIn, only: Sequence[str]) -> str:
        """The document's text; or of it only what is named, as a JSON object by these names."""

        async def work(transit: Transit, places: Sequence[Place]) -> Secret:
            return await documents.unseal(transit=transit, place=places[0])

        found = self._run(work, [place])
        return json.dumps(documents.only(found, only)) if only else found.reveal()

    def rewrap(self, places: Sequence[SealedIn], *, retire: bool) -> dict[str, Any]:
        """See ``secrets.transit.rewrap``; its members."""

        async def work(transit: Transit, places: Sequence[Place]) -> documents.Rewrapped:
            return await documents.rewrap(places, transit=transit, retire=retire)

        done = self._run(work, places)
        return {"versions": dict(done.versions), "retired_before": done.retired}

    def _run(
        self, work: Callable[[Transit, Sequence[Place]], Coroutine[Any, Any, _T]], places: Sequence[SealedIn]
    ) -> _T:
        async def run() -> _T:
            async with _opened(self.access) as (transit, cluster):
                return await work(transit, [_place(cluster, one) for one in places])

        try:
            return asyncio.run(run())
        except RemoteFailure as failure:
            meant = next(error for kind, error in _ERRORS if isinstance(failure, kind))
            raise meant(str(failure), reason=failure.reason) from failure


@asynccontextmanager
async def _opened(access: TransitAccess) -> AsyncIterator[tuple[Transit, Cluster | None]]:
    clock = SystemClock()
    cluster = None
    if access.kubernetes_url is not None:
        cluster = Cluster(
            url=access.kubernetes_url,
            token=token_of_file(access.kubernetes_token_file),
            ca_file=_text(access.kubernetes_ca_file),
        )
    wire = Wire(url=access.vault_url, ca_file=access.vault_ca_file, namespace=access.vault_namespace, clock=clock)
    vault = Vault(wire=wire, login=_login(access, cluster), clock=clock)
    try:
        yield Transit(vault=vault, key=access.key, mount=access.mount), cluster
    finally:
        # Gives the token back.
        await vault.close()
        if cluster is not None:
            await cluster.close()


def _login(access: TransitAccess, cluster: Cluster | None) -> Login:
    if access.vault_token_file is not None:
        return Given(Secret(read_private(access.vault_token_file, limit=_TOKEN_FILE_MAX).decode("ascii").strip()))
    assert cluster is not None  # noqa: S101  # the command asks for one where it has no token
    namespace, _, account = access.service_account.partition("/")
    return OnDemand(
        cluster=cluster,
        namespace=namespace,
        account=account,
        audience=access.audience,
        role=access.role,
        mount=access.auth_mount,
    )


def _place(cluster: Cluster | None, where: SealedIn) -> Place:
    if where.file is not None:
        return FilePlace(where.file)
    assert cluster is not None  # noqa: S101  # as above
    return KubernetesPlace(cluster=cluster, namespace=where.namespace, name=where.name, key=where.data_key)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
