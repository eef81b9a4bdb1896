"""The real Redis of the tests and the demo, tried with redis-cli: what the tests of the cache take for granted."""

from __future__ import annotations

import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes import redis as redis_module
from tests.fakes import server_process
from tests.fakes.redis import RedisError, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""  # It has ended since the folder was listed.


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path / "redis") as server:
        yield server


def test_it_keeps_what_it_is_given_and_restarts_empty_on_the_same_addresses(own_redis: RedisServer) -> None:
    own_redis.cli("SET", "key", "value")
    url = own_redis.url
    assert own_redis.cli("GET", "key") == "value\n"
    own_redis.restart()
    assert own_redis.url == url
    assert own_redis.cli("KEYS", "*").strip() == ""


def test_nobody_comes_in_without_the_password(own_redis: RedisServer) -> None:
    with socket.create_connection(("127.0.0.1", own_redis.port), timeout=5) as client:
        client.sendall(b"KEYS *\r\n")
        assert client.recv(100).startswith(b"-NOAUTH")


def test_the_password_is_in_no_command_line_and_no_readable_file(own_redis: RedisServer) -> None:
    assert stat.S_IMODE((own_redis.folder / "redis.conf").stat().st_mode) == 0o600
    assert own_redis.password not in own_redis.url
    assert own_redis.password in own_redis.url_with_password
    lines = [_command_line(folder) for folder in Path("/proc").glob("[0-9]*")]
    assert any("redis-server" in line for line in lines)
    assert not any(own_redis.password in line for line in lines)


def test_a_frozen_server_keeps_connections_and_answers_after_the_thaw(own_redis: RedisServer) -> None:
    with socket.create_connection(("127.0.0.1", own_redis.port), timeout=0.2) as client:
        own_redis.freeze()
        client.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            client.recv(100)
        own_redis.thaw()
        client.settimeout(5)
        assert client.recv(100).startswith(b"-NOAUTH")


def test_a_frozen_server_can_be_stopped(own_redis: RedisServer) -> None:
    own_redis.freeze()
    started = time.monotonic()
    own_redis.stop()
    assert time.monotonic() - started < server_process.STOP_SECONDS
    with pytest.raises(RedisError):
        own_redis.cli("PING")


def test_renewal_mends_whatever_a_test_did(own_redis: RedisServer) -> None:
    for damage in (own_redis.freeze, own_redis.stop, lambda: own_redis.cli("SET", "key", "value")):
        damage()
        own_redis.renew()
        assert own_redis.cli("DBSIZE") == "0\n"


def test_nothing_is_written_to_disk(own_redis: RedisServer) -> None:
    own_redis.cli("SET", "key", "a value that must not reach a disk")
    own_redis.stop()
    assert {path.name for path in own_redis.folder.iterdir()} == {"redis.conf", "redis.log"}


def test_an_error_of_the_server_is_raised(own_redis: RedisServer) -> None:
    with pytest.raises(RedisError, match="unknown command"):
        own_redis.cli("NO-SUCH-COMMAND")


def test_settings_reach_the_server(tmp_path: Path) -> None:
    with RedisServer.start(tmp_path / "redis", settings={"maxmemory": "2mb"}) as server:
        assert server.cli("CONFIG", "GET", "maxmemory") == "maxmemory\n2097152\n"


def test_a_folder_too_deep_for_a_socket_gets_a_short_one_that_is_removed(tmp_path: Path) -> None:
    with RedisServer.start(tmp_path / ("deep" * 30)) as server:
        path = server.socket
        assert server.cli("PING") == "PONG\n"
    assert not path.parent.exists()


def test_a_port_that_somebody_took_meanwhile_is_given_up_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = squatter.getsockname()[1]
        ports = iter([taken, redis_module._free_port()])
        monkeypatch.setattr(redis_module, "_free_port", lambda: next(ports))
        with RedisServer.start(tmp_path / "redis") as server:
            assert server.port != taken
            assert server.cli("PING") == "PONG\n"
