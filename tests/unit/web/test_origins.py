"""Which origins are our own page: the very address that was asked, and no page that came without TLS where we speak it."""

from __future__ import annotations

import ssl

import pytest
from aiohttp.test_utils import make_mocked_request

from broker.core.errors import CrossSiteBlocked
from broker.web import guards


def checked(origin: str, *, tls: bool) -> None:
    headers = {"Host": "broker.test", "Origin": origin, "Content-Type": "application/x-www-form-urlencoded"}
    context = ssl.create_default_context() if tls else None
    request = make_mocked_request("POST", "/page/credentials", headers=headers, sslcontext=context)
    guards.check(request, address=None, hostnames=frozenset({"broker.test"}), networks=())


@pytest.mark.parametrize(
    ("origin", "tls", "is_ours"),
    [
        ("https://broker.test", True, True),
        # Port 80 of our name, where whoever is on the way answers as they like; neither address names its port.
        ("http://broker.test", True, False),
        # Somebody before us ends TLS, or nobody on this very machine.
        ("https://broker.test", False, True),
        ("http://broker.test", False, True),
        ("https://broker.test:8443", True, False),
        ("https://other.test", True, False),
        ("null", True, False),
    ],
)
def test_our_own_page_is_the_one_of_this_very_address(origin: str, tls: bool, is_ours: bool) -> None:  # noqa: FBT001
    if is_ours:
        checked(origin, tls=tls)
        return
    with pytest.raises(CrossSiteBlocked):
        checked(origin, tls=tls)
