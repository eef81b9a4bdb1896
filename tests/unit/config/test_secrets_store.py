"""`secrets.store`: where the integrated vault's rows lie."""

from __future__ import annotations

import pytest

from broker.core.errors import ConfigurationError
from tests.unit.config.conftest import MINIMAL, Host


def test_secrets_lie_in_a_file_of_the_host_unless_redis_is_named(host: Host) -> None:
    assert host.load(MINIMAL).secrets.store == "sqlite"
    text = MINIMAL + 'redis: {url: "redis://localhost"}\nsecrets: {store: redis}\n'
    assert host.load(text).secrets.store == "redis"


def test_a_vault_in_a_redis_that_nobody_configured_is_refused(host: Host) -> None:
    with pytest.raises(ConfigurationError) as caught:
        host.load(MINIMAL + "secrets: {store: redis}\n")
    (line,) = caught.value.problems
    assert "secrets: has store: redis, and there is no section redis — fix: add redis" in line
