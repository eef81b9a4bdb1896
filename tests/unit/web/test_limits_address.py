"""Whose word about a client's address counts."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from broker.core.errors import BadRequest
from broker.web.address import Address, address_of

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def seen(*headers: tuple[str, str], peer: str = "10.0.0.1", trusted=PROXIES) -> Address | None:
    request = make_mocked_request("GET", "/", headers=CIMultiDict(headers))
    return address_of(request.clone(remote=peer), trusted=trusted)


def test_without_trusted_proxies_the_headers_mean_nothing():
    forged = (("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.8"))
    assert seen(*forged, trusted=()) == ip_address("10.0.0.1")


def test_from_somebody_who_is_no_proxy_the_headers_mean_nothing():
    assert seen(("X-Forwarded-For", "10.0.0.9"), peer="192.0.2.66") == ip_address("192.0.2.66")


def test_a_local_socket_has_no_address_whatever_is_said():
    assert seen(("X-Forwarded-For", "192.0.2.7"), peer="") is None


@pytest.mark.parametrize(
    ("name", "value", "address"),
    [
        ("X-Forwarded-For", "192.0.2.7", "192.0.2.7"),
        ("X-Forwarded-For", "127.0.0.1, 192.0.2.7", "192.0.2.7"),
        ("X-Forwarded-For", "not one, 192.0.2.7,10.3.3.3 , 10.4.4.4", "192.0.2.7"),
        ("X-Forwarded-For", "10.9.9.9, 10.8.8.8", "10.9.9.9"),
        ("X-Forwarded-For", "192.0.2.7:4711", "192.0.2.7"),
        ("X-Forwarded-For", "2001:db8::7", "2001:db8::7"),
        ("X-Forwarded-For", "[2001:db8::7]:4711", "2001:db8::7"),
        ("X-Forwarded-For", "::ffff:192.0.2.7", "192.0.2.7"),
        ("Forwarded", "for=192.0.2.7", "192.0.2.7"),
        ("Forwarded", "For=192.0.2.7;proto=https;by=10.0.0.1", "192.0.2.7"),
        ("Forwarded", 'proto=https; for="[2001:db8::7]:4711"', "2001:db8::7"),
        ("Forwarded", "for=127.0.0.1, for=192.0.2.7, for=10.1.1.1", "192.0.2.7"),
    ],
)
def test_the_rightmost_address_that_is_no_proxy_counts(name, value, address):
    assert seen((name, value)) == ip_address(address)


def test_several_headers_are_one_list():
    assert seen(("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-For", "192.0.2.8, 10.1.1.1")) == ip_address("192.0.2.8")


def test_a_proxy_that_says_nothing_stands_for_itself():
    assert seen() == ip_address("10.0.0.1")


def test_an_ipv4_client_of_an_ipv6_socket_is_known_by_its_ipv4_address():
    assert seen(peer="::ffff:192.0.2.7") == ip_address("192.0.2.7")


@pytest.mark.parametrize(
    "header",
    [
        ("X-Forwarded-For", "unknown"),
        ("X-Forwarded-For", "192.0.2.7, "),
        ("X-Forwarded-For", ""),
        ("X-Forwarded-For", "192.0.2.700"),
        ("X-Forwarded-For", "192.0.2.7:port"),
        ("X-Forwarded-For", "[192.0.2.7"),
        ("X-Forwarded-For", "fe80::1%eth0"),
        ("Forwarded", "for=_hidden"),
        ("Forwarded", "for=unknown"),
        ("Forwarded", "proto=https"),
        ("Forwarded", 'for="192.0.2.7'),
        ("Forwarded", "by=10.0.0.1;xfor=192.0.2.7"),
        ("Forwarded", "192.0.2.7"),
    ],
)
def test_what_a_trusted_proxy_says_must_be_an_address(header):
    with pytest.raises(BadRequest) as refused:
        seen(header)
    assert "192.0.2" not in str(refused.value)


def test_two_kinds_of_headers_are_one_too_many():
    with pytest.raises(BadRequest):
        seen(("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.8"))
