"""Where settings come from, which win, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from zerotrust_kerberos import settings
from zerotrust_kerberos.failures import EXIT_USAGE, Failure

if TYPE_CHECKING:
    from pathlib import Path


def load(
    tmp_path: Path, *, flags: dict[str, str] | None = None, env: dict[str, str] | None = None
) -> settings.Settings:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), **(env or {})}
    return settings.load(flags or {}, environ, system_file=str(tmp_path / "client.toml"))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def refused(code: str, tmp_path: Path, **given: dict[str, str]) -> Failure:
    with pytest.raises(Failure) as raised:
        load(tmp_path, **given)
    assert raised.value.code == code
    assert raised.value.exit_status == EXIT_USAGE
    assert raised.value.fix
    return raised.value


def test_each_place_wins_over_the_next_key_by_key(tmp_path: Path) -> None:
    write(tmp_path / "client.toml", 'broker_url = "https://system"\nca_file = "/system"\nrole = "system"\ntimeout = 4')
    write(tmp_path / "zerotrust" / "config.toml", 'broker_url = "https://user"\nca_file = "/user"\nrole = "user"')
    env = {"ZEROTRUST_BROKER_URL": "https://environment", "ZEROTRUST_CA_FILE": "/environment"}
    found = load(tmp_path, env=env, flags={"broker_url": "https://flag"})
    assert (found.broker.url, found.ca_file, found.role, found.timeout) == (
        "https://flag",
        "/environment",
        "user",
        4.0,
    )


def test_without_xdg_the_users_file_is_in_dot_config(tmp_path: Path) -> None:
    (tmp_path / ".config").mkdir()
    write(tmp_path / ".config" / "zerotrust" / "config.toml", 'broker_url = "https://home"')
    for environ in ({"HOME": str(tmp_path)}, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}):
        assert settings.load({}, environ, system_file=str(tmp_path / "none")).broker.host == "home"


def test_an_empty_environment_needs_no_home(tmp_path: Path) -> None:
    found = settings.load({"broker_url": "https://broker"}, {}, system_file=str(tmp_path / "none"))
    assert (found.role, found.ca_file, found.timeout) == (None, None, settings.TIMEOUT_MAX)


def test_no_broker_anywhere_is_a_fault_with_a_fix(tmp_path: Path) -> None:
    assert "ZEROTRUST_BROKER_URL" in str(refused("configuration", tmp_path).fix)


@pytest.mark.parametrize(
    "text",
    [
        'borker_url = "https://a"',
        "[broker]\nurl = 1",
        "broker_url = 1",
        'timeout = "5"',
        "timeout = true",
        "not toml",
        "\xff",
    ],
)
def test_a_file_with_an_unknown_key_or_a_wrong_value_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "zerotrust" / "config.toml"
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    fault = refused("configuration", tmp_path, flags={"broker_url": "https://flag"})
    assert str(path) in fault.detail
    assert str(path) in str(fault.fix)


def test_a_file_that_cannot_be_read_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "client.toml").mkdir()
    refused("configuration", tmp_path, flags={"broker_url": "https://flag"})


def test_variables_of_the_daemon_are_left_alone(tmp_path: Path) -> None:
    env = {"ZEROTRUST_BROKER_URL": "https://a", "ZEROTRUST_ENCRYPTION_KEY": "x", "ZEROTRUST_SERVER_LISTEN": "y"}
    assert load(tmp_path, env=env).broker.host == "a"


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "authority"),
    [
        ("https://Broker.Example.com", "https", "Broker.Example.com", 443, "Broker.Example.com"),
        ("https://broker.example.com:8443/", "https", "broker.example.com", 8443, "broker.example.com:8443"),
        ("https://[2001:db8::1]:8443", "https", "2001:db8::1", 8443, "[2001:db8::1]:8443"),
        ("http://localhost:8080", "http", "localhost", 8080, "localhost:8080"),
        ("http://broker.localhost", "http", "broker.localhost", 80, "broker.localhost"),
        ("http://127.0.0.1:1", "http", "127.0.0.1", 1, "127.0.0.1:1"),
        ("http://[::1]:1", "http", "::1", 1, "[::1]:1"),
    ],
)
def test_a_url_is_taken_apart_exactly_as_written(url: str, scheme: str, host: str, port: int, authority: str) -> None:
    broker = settings.parse_url(url)
    assert (broker.scheme, broker.host, broker.port, broker.authority) == (scheme, host, port, authority)
    assert broker.url == url.removesuffix("/")


def test_a_unix_url_takes_its_host_from_the_settings_or_from_the_machine() -> None:
    assert settings.parse_url("unix:/run/b.sock", unix_host="broker").authority == "broker"
    assert settings.parse_url("unix:/run/b.sock").path == "/run/b.sock"
    assert settings.parse_url("unix:/run/b.sock").host


@pytest.mark.parametrize(
    "url",
    [
        *("", "broker", "broker.example.com:8443", "ftp://a", "HTTPS://a", "https:a", "https:/a", "https://"),
        *("https://a/path", "https://a?x", "https://a#x", "https://user@a", "https://user:pw@a:1", "https://a b"),
        *("https://a:", "https://a:0", "https://a:65536", "https://a:1x", "https://a:-1", "https://a:٣"),
        *("https://a\r\nX: y", "https://\x1b[2J", "https://ä.example", "https://[::1", "https://[]", "https://[::1]x"),
        *("http://broker.example.com", "http://localhost.example.com", "http://notlocalhost", "http://127.0.0.2"),
        *("http://0.0.0.0", "http://[::2]", "unix:", "unix:relative", "unix://host/path\n"),
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(Failure) as raised:
        settings.parse_url(url)
    assert raised.value.code == "configuration"


@pytest.mark.parametrize("role", ["", "a b", 'a"b', "a\n", "../x", "ä", "x" * 65])
def test_a_role_that_no_broker_can_have_is_refused_before_anything_is_sent(role: str, tmp_path: Path) -> None:
    refused("usage", tmp_path, flags={"broker_url": "https://a", "role": role})


@pytest.mark.parametrize("timeout", ["0", "-1", "10.1", "nan", "inf", "soon", ""])
def test_a_timeout_is_more_than_nothing_and_at_most_ten_seconds(timeout: str, tmp_path: Path) -> None:
    refused("configuration", tmp_path, flags={"broker_url": "https://a", "timeout": timeout})


@pytest.mark.parametrize("key", ["spn", "ca_file"])
def test_control_characters_in_a_setting_are_refused(key: str, tmp_path: Path) -> None:
    refused("configuration", tmp_path, flags={"broker_url": "https://a", key: "a\x1b[2J\n"})


def test_the_service_is_http_at_the_host_of_the_url_unless_told_otherwise(tmp_path: Path) -> None:
    assert load(tmp_path, flags={"broker_url": "https://Broker:1"}).spn == "HTTP@Broker"
    assert load(tmp_path, flags={"broker_url": "https://b", "spn": "HTTP/x@R"}).spn == "HTTP/x@R"
