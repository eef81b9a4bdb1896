"""Brokers beside a Redis by its address: by TLS with a certificate of their own, and over a Unix socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.redis import ACCOUNT, RedisServer
from tests.fakes.redis_life import life_beside
from tests.fakes.redis_sets import Tls
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.realm import Realm


@pytest.mark.parametrize("way", ["tls", "socket"])
def test_a_broker_does_all_that_it_does_with_redis(way: str, realm: Realm, tmp_path: Path) -> None:
    tls = Tls.made(tmp_path / "tls")
    with RedisServer.start(tmp_path / "redis", settings=tls.settings) as server, StrictSts(demo_world()) as sts:
        ways: dict[str, dict[str, Any]] = {
            "tls": {"url": server.url, "tls": tls.section},
            "socket": {"url": f"unix://{server.socket}", "username": ACCOUNT},
        }
        with life_beside(ways[way] | {"password": server.password}, tmp_path, realm, sts) as life:
            life.is_lived()
        server.require_nothing_refused()
