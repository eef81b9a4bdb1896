"""The product's client of a running OpenBao, as tests need it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from broker.core.clock import Clock, SystemClock
from broker.core.secret import Secret
from broker.remote.hashicorp.login import AppRole, Given, Login
from broker.remote.hashicorp.vault import Vault
from broker.remote.hashicorp.wire import Wire
from tests.fakes.bao import BaoServer


def wire_of(
    server: BaoServer, *, url: str | None = None, ca_file: Path | None = None, namespace: str | None = None
) -> Wire:
    return Wire(url=url or server.url, ca_file=ca_file or server.ca_file, namespace=namespace, clock=SystemClock())


@asynccontextmanager
async def vault_of(
    server: BaoServer, login: Login | str, *, clock: Clock | None = None, **place: Any
) -> AsyncIterator[Vault]:
    """``login`` may be a token."""
    way = Given(Secret(login)) if isinstance(login, str) else login
    vault = Vault(wire=wire_of(server, **place), login=way, clock=clock or SystemClock())
    try:
        yield vault
    finally:
        await vault.close()


def approle(server: BaoServer, name: str, *policies: str, **settings: Any) -> AppRole:
    """A new role, as the product is given it."""
    made = server.approle(name, *policies, **settings)
    return AppRole(role_id=made.role_id, secret_id=Secret(made.secret_id))
