"""Of the names that a KDC may put into a ticket, only plain ones count, and each as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.authn.identity import principal_from
from broker.core.errors import AuthFailed
from broker.core.principal import Principal


@pytest.mark.parametrize(
    ("printed", "principal"),
    [
        (b"alice@EXAMPLE.COM", Principal(("alice",), "EXAMPLE.COM")),
        (b"Alice@EXAMPLE.COM", Principal(("Alice",), "EXAMPLE.COM")),
        (b"alice/admin@EXAMPLE.COM", Principal(("alice", "admin"), "EXAMPLE.COM")),
        (b"DC1$@EXAMPLE.COM", Principal(("DC1$",), "EXAMPLE.COM")),
        (b"host/web-1.example.com@EXAMPLE.COM", Principal(("host", "web-1.example.com"), "EXAMPLE.COM")),
        (b"jane.doe+x~y_z@EXAMPLE.COM", Principal(("jane.doe+x~y_z",), "EXAMPLE.COM")),
    ],
)
def test_a_plain_name_is_taken_exactly_as_it_is(printed: bytes, principal: Principal) -> None:
    assert principal_from(printed, anonymous=False) == principal


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (b"alice @EXAMPLE.COM", "name_malformed"),
        (b" alice@EXAMPLE.COM", "name_malformed"),
        (b"alice\r@EXAMPLE.COM", "name_malformed"),
        (b"alice\\n@EXAMPLE.COM", "name_malformed"),
        (b"al\\0ice@EXAMPLE.COM", "name_malformed"),
        (b"\x1b[2Jalice@EXAMPLE.COM", "name_malformed"),
        ("alice\u202e@EXAMPLE.COM".encode(), "name_malformed"),
        ("\u0430lice@EXAMPLE.COM".encode(), "name_malformed"),
        ("\uff41lice@EXAMPLE.COM".encode(), "name_malformed"),
        (b"alice\xff@EXAMPLE.COM", "name_malformed"),
        (b"@EXAMPLE.COM", "name_malformed"),
        (b"alice/@EXAMPLE.COM", "name_malformed"),
        (b"/admin@EXAMPLE.COM", "name_malformed"),
        (b"a/b/c/d/e@EXAMPLE.COM", "name_malformed"),
        (b"alice", "name_malformed"),
        (b"", "name_malformed"),
        (b"alice@A@B", "name_malformed"),
        # NT-ENTERPRISE: the whole of it is one component, and must not be read as name and realm.
        (b"alice\\@EXAMPLE.COM@EXAMPLE.COM", "name_malformed"),
        (b"alice\\/admin@EXAMPLE.COM", "name_malformed"),
        (b"<script>alert(1)</script>@EXAMPLE.COM", "name_malformed"),
        (b"alice'--@EXAMPLE.COM", "name_malformed"),
        (b"*@EXAMPLE.COM", "name_malformed"),
        (b"a" * 129 + b"@EXAMPLE.COM", "name_malformed"),
        (b"a" * 4000 + b"@EXAMPLE.COM", "name_too_long"),
        (b"WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS", "name_anonymous"),
        (b"WELLKNOWN/ANONYMOUS@EXAMPLE.COM", "name_anonymous"),
        (b"alice@WELLKNOWN:ANONYMOUS", "name_anonymous"),
    ],
)
def test_a_name_that_no_rule_could_mean_is_nobody(printed: bytes, reason: str) -> None:
    with pytest.raises(AuthFailed) as caught:
        principal_from(printed, anonymous=False)
    assert caught.value.reason == reason


def test_who_gss_api_calls_anonymous_is_nobody_whatever_the_name() -> None:
    with pytest.raises(AuthFailed) as caught:
        principal_from(b"alice@EXAMPLE.COM", anonymous=True)
    assert caught.value.reason == "name_anonymous"


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_a_plain_name_or_nobody(printed: bytes) -> None:
    try:
        principal = principal_from(printed, anonymous=False)
    except AuthFailed:
        return
    assert str(principal).encode() == printed
    assert all(part.isascii() and part.isprintable() and " " not in part for part in principal.components)
