from __future__ import annotations

import base64
import contextlib
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from broker.config.ciphers import OPENSSL_NAMES
from broker.config.redis import parse_redis_url
from broker.config.values import (
    TcpListener,
    UnixListener,
    duration_text,
    key_bytes,
    parse_duration,
    parse_host_name,
    parse_issuer,
    parse_key,
    parse_listener,
    parse_network,
    parse_signin_endpoint,
    parse_sts_endpoint,
)
from broker.core.secret import Secret


@given(st.integers(min_value=1, max_value=999_999))
def test_a_duration_survives_being_written_and_read(seconds):
    duration = timedelta(seconds=seconds)
    assert parse_duration(duration_text(duration)) == duration


@given(st.text())
def test_a_duration_is_read_or_refused_and_nothing_else(text):
    with contextlib.suppress(PydanticCustomError):
        assert parse_duration(text) > timedelta(0)


@pytest.mark.parametrize("text", ["3600", "0s", "1 h", "1H", "-1h", "1.5h", "1h30m", "٣h", "1h\n", "9999999d"])
def test_a_duration_without_exactly_one_unit_is_refused(text):
    with pytest.raises(PydanticCustomError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("https://0.0.0.0:8443", TcpListener(tls=True, host="0.0.0.0", port=8443)),  # noqa: S104
        ("https://[::]:8443", TcpListener(tls=True, host="::", port=8443)),
        ("http://127.8.9.1:0", TcpListener(tls=False, host="127.8.9.1", port=0)),
        ("http://[::1]:80", TcpListener(tls=False, host="::1", port=80)),
        ("http://localhost:80", TcpListener(tls=False, host="localhost", port=80)),
        ("unix:/run/zerotrust/broker.sock", UnixListener(Path("/run/zerotrust/broker.sock"))),
    ],
)
def test_a_listener_is_read_and_printed_alike(text, listener):
    assert parse_listener(text) == listener
    assert str(listener) == text


@pytest.mark.parametrize(
    "text",
    [
        "http://0.0.0.0:80",
        "http://[::]:80",
        "http://[::ffff:127.0.0.1]:80",
        "http://127.1:80",
        "http://localhost.example.com:80",
        "http://127.0.0.1:80@example.com:80",
        "https://[fe80::1%eth0]:443",
        "https://a_b:443",
        "https://:443",
        "HTTPS://localhost:443",
        "unix:relative",
        "unix:/" + "a" * 107,
        "8443",
    ],
)
def test_an_address_that_is_no_listener_or_plain_http_beyond_loopback_is_refused(text):
    with pytest.raises(PydanticCustomError):
        parse_listener(text)


def test_a_network_with_bits_behind_its_prefix_is_refused_with_the_network_that_was_meant():
    with pytest.raises(PydanticCustomError) as refused:
        parse_network("10.1.2.3/16")
    assert refused.value.context is not None
    assert "10.1.0.0/16" in refused.value.context["fix"]


def test_a_host_name_is_kept_in_lower_case():
    assert parse_host_name("Broker.EXAMPLE.com") == "broker.example.com"


@pytest.mark.parametrize(
    "text",
    [
        "rediss://redis.example.com",
        "rediss://broker@redis.example.com:6379/0",
        "redis://127.0.0.1:6379/15",
        "redis://[::1]:6379",
        "redis://localhost",
        "unix:///run/redis.sock",
    ],
)
def test_a_redis_url_by_tls_on_loopback_or_by_socket_is_accepted(text):
    assert parse_redis_url(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "redis://redis.example.com:6379",
        "rediss://broker:canary@redis.example.com",
        "rediss://:canary@redis.example.com",
        "rediss://redis.example.com?ssl_cert_reqs=none",
        "rediss://redis.example.com/?password=canary",
        "unix:///run/redis.sock?password=canary",
        "rediss://redis.example.com/0/1",
        "rediss://redis.example.com:canary",
        "rediss://[canary",
        "rediss:///0",
        "unix://run/redis.sock",
        "http://127.0.0.1",
        "canary",
    ],
)
def test_a_redis_url_that_is_unsafe_is_refused_without_being_shown(text):
    with pytest.raises(PydanticCustomError) as refused:
        parse_redis_url(text)
    assert "canary" not in str(refused.value.context)


@pytest.mark.parametrize(
    "text", ["https://sts.eu-central-1.amazonaws.com", "http://127.0.0.1:5000", "http://[::1]:5000"]
)
def test_an_sts_endpoint_by_https_or_on_loopback_is_accepted(text):
    assert parse_sts_endpoint(text + "/") == text


@pytest.mark.parametrize(
    "text",
    [
        "http://sts.example.com",
        "http://127.0.0.1.example.com",
        "https://user@sts.example.com",
        "https://sts.example.com/path",
        "https://sts.example.com?x=1",
        "https://",
        "sts.example.com",
    ],
)
def test_any_other_sts_endpoint_is_refused(text):
    with pytest.raises(PydanticCustomError):
        parse_sts_endpoint(text)


@pytest.mark.parametrize("key", [bytes(range(32)), b"\xff" * 32, b"\xfb\xef" * 16])
def test_a_key_is_read_in_both_alphabets_padded_or_not(key):
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(key).decode()
        assert key_bytes(parse_key(text)) == key
        assert key_bytes(parse_key(text.rstrip("="))) == key


@pytest.mark.parametrize(
    "text", ["", "A" * 42, "A" * 45, "A" * 43 + "!", "ü" * 43, "00" * 32, "A" * 20 + "\n" + "A" * 23]
)
def test_a_key_of_another_length_or_alphabet_is_refused_without_being_shown(text):
    with pytest.raises(PydanticCustomError) as refused:
        parse_key(text)
    assert refused.value.context is not None
    assert refused.value.context["shown"] is None
    with pytest.raises(ValueError, match="not a key"):
        key_bytes(Secret(text))


def test_openssl_knows_every_suite_of_the_table_by_the_name_it_is_given():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(":".join(OPENSSL_NAMES.values()))
    offered = {cipher["name"] for cipher in context.get_ciphers()}
    assert set(OPENSSL_NAMES.values()) <= offered


# ---- the issuer of tokens, the sign-in endpoint ----


@pytest.mark.parametrize("text", ["https://broker.example.com", "https://example.com/oidc/broker"])
def test_an_issuer_as_iam_writes_it_is_accepted(text):
    assert parse_issuer(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "http://broker.example.com",
        "https://broker.example.com/",
        "https://Broker.example.com",
        "https://broker.example.com:8443",
        "https://alice@broker.example.com",
        "https://",
        "broker.example.com",
    ],
)
def test_any_other_issuer_is_refused(text):
    with pytest.raises(PydanticCustomError):
        parse_issuer(text)


@pytest.mark.parametrize(
    "text", ["https://us-east-1.signin.aws.amazon.com/federation", "http://127.0.0.1:5000/federation"]
)
def test_a_sign_in_endpoint_by_https_or_on_loopback_is_accepted(text):
    assert parse_signin_endpoint(text) == text


@pytest.mark.parametrize(
    "text",
    ["http://signin.example.com/federation", "https://signin.aws.amazon.com/", "https://a@b.example.com/federation"],
)
def test_any_other_sign_in_endpoint_is_refused(text):
    with pytest.raises(PydanticCustomError):
        parse_signin_endpoint(text)
