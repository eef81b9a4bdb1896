"""What the loader is given to ask the vault with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from broker import cli
from broker.assembly import resolver
from broker.config.resolve import Bootstrap, Unread
from broker.core.secret import Secret
from broker.secrets.provider import Version


class Leasing:
    """A vault that makes what is read for the reader; it notes that it was let go."""

    is_closed = False

    async def read(self, path: str, *, version: str | None = None) -> Version:
        ends = datetime(2099, 1, 1, tzinfo=UTC)
        return Version(fields={"password": Secret("canary")}, number=version or path, lease_ends=ends)

    async def close(self) -> None:
        self.is_closed = True


def test_what_is_leased_is_refused_for_it_would_end_with_the_visit(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Leasing()

    async def found(_bootstrap: Bootstrap) -> Any:
        return vault

    monkeypatch.setattr(resolver, "_provider", found)
    answer = resolver.VaultResolver().read(Bootstrap(), ["database/creds/app"])["database/creds/app"]
    assert isinstance(answer, Unread)
    assert answer.what == "stands in a secret that is leased, and would end at once"
    assert vault.is_closed


def test_a_command_is_over_in_ten_seconds_where_a_vault_does_not_answer_its_own_start_included() -> None:
    assert cli._resolver(None)._patience <= 10 - 3
