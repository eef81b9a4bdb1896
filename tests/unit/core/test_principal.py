"""Distinct principals stay distinct, in print and in what AWS is told."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.core.principal import MalformedPrincipal, NameType, Principal

# STS, AssumeRole: RoleSessionName and SourceIdentity.
STS_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")

# The characters that printing quotes and that session names give a meaning, more often than chance would.
_TRICKY = st.sampled_from(list("/@\\=,.-+_ \n\t\b\0$aAzé€\u202e\u0430"))
_TEXT = st.text(_TRICKY | st.characters(codec="utf-8"), max_size=40)
_REALM = st.text(_TRICKY | st.characters(codec="utf-8"), min_size=1, max_size=40)
PRINCIPALS = st.builds(
    Principal,
    components=st.lists(_TEXT, min_size=1, max_size=4).map(tuple),
    realm=_REALM,
    name_type=st.sampled_from(NameType),
)


@given(PRINCIPALS)
def test_printing_loses_nothing(principal: Principal) -> None:
    assert Principal.parse(str(principal), name_type=principal.name_type) == principal


@given(st.text(_TRICKY | st.characters(codec="utf-8"), max_size=60))
def test_what_parses_prints_a_name_that_parses_to_the_same(text: str) -> None:
    try:
        principal = Principal.parse(text)
    except MalformedPrincipal:
        return
    assert Principal.parse(str(principal)) == principal


@pytest.mark.parametrize("text", ["alice", "", "alice@A@B", "alice\\", "al\\ice@R", "a@b@", "\\@R"])
def test_a_text_that_is_not_the_printed_form_is_refused(text: str) -> None:
    with pytest.raises(MalformedPrincipal):
        Principal.parse(text)


@pytest.mark.parametrize(
    ("text", "components", "realm"),
    [
        ("alice@R", ("alice",), "R"),
        ("alice/admin@R", ("alice", "admin"), "R"),
        ("alice\\/admin@R", ("alice/admin",), "R"),
        ("alice\\@EXAMPLE.COM@R", ("alice@EXAMPLE.COM",), "R"),
        ("alice\\n@R", ("alice\n",), "R"),
        ("al\\0ice@R", ("al\0ice",), "R"),
        ("a/@R", ("a", ""), "R"),
        ("@R", ("",), "R"),
        ("alice@C=DE/O=x", ("alice",), "C=DE/O=x"),
    ],
)
def test_quoting_keeps_components_and_realm_apart(text: str, components: tuple[str, ...], realm: str) -> None:
    assert Principal.parse(text) == Principal(components, realm)


@given(PRINCIPALS)
@example(Principal(("\0",), "R", NameType.SRV_INST))
@example(Principal(("a" * 30,), "R" * 200))
def test_a_session_name_is_one_that_sts_takes(principal: Principal) -> None:
    assert STS_NAME.fullmatch(principal.session_name())


@given(PRINCIPALS, PRINCIPALS)
def test_no_two_principals_share_a_session_name(one: Principal, other: Principal) -> None:
    assert (one.session_name() == other.session_name()) == (one == other)


@given(PRINCIPALS)
@example(Principal(("=",), "R", NameType.SRV_INST))
def test_two_equals_signs_mark_a_shortened_name_and_no_other(principal: Principal) -> None:
    name = principal.session_name()
    assert ("==" in name) == (re.search(r"==[0-9a-f]{32}$", name) is not None and len(name) == 64)


_LONG = "a" * 200
_NEIGHBOURS = [
    Principal(("alice",), "R"),
    Principal(("Alice",), "R"),
    Principal(("alice",), "r"),
    Principal(("alice",), "R", NameType.SRV_INST),
    Principal(("alice",), "R", NameType.WELLKNOWN),
    Principal(("alice", ""), "R"),
    Principal(("", "alice"), "R"),
    Principal(("alice ",), "R"),
    Principal(("alice=20",), "R"),
    Principal(("alice\r",), "R"),
    Principal(("alice", "admin"), "R"),
    Principal(("alice,admin",), "R"),
    Principal(("alice/admin",), "R"),
    Principal(("alice=2Cadmin",), "R"),
    Principal(("alice=2cadmin",), "R"),
    Principal(("alice@X",), "R"),
    Principal(("alice",), "X@R"),
    Principal(("alice=40X",), "R"),
    Principal(("=t2-alice",), "R"),
    Principal(("=t2=alice",), "R"),
    Principal(("alice==",), "R"),
    Principal(("\u0430lice",), "R"),
    Principal(("alice\u202e",), "R"),
    Principal((_LONG,), "R"),
    Principal((_LONG + "a",), "R"),
    Principal((_LONG,), "RR"),
    Principal((_LONG,), "R", NameType.SRV_INST),
    Principal((_LONG, ""), "R"),
    Principal((_LONG, "a"), "R"),
]


def test_crafted_neighbours_all_have_session_names_of_their_own() -> None:
    names = {principal.session_name() for principal in _NEIGHBOURS}
    assert len(names) == len(_NEIGHBOURS)


def test_nobody_can_be_called_what_a_long_name_is_shortened_to() -> None:
    shortened = Principal((_LONG,), "R").session_name()
    local, _, realm = shortened.rpartition("==")
    for impostor in (
        Principal((shortened,), "R"),
        Principal((local,), realm),
        Principal((local + "==" + realm,), ""),
        Principal((shortened.partition("@")[0],), shortened.partition("@")[2] or "R"),
    ):
        assert impostor.session_name() != shortened


def test_the_limit_is_sts_s_64_characters_and_not_one_less() -> None:
    fits = Principal(("a" * 62,), "R")
    assert fits.session_name() == "a" * 62 + "@R"
    assert len(Principal(("a" * 63,), "R").session_name()) == 64
    assert Principal(("a" * 63,), "R").session_name() != Principal(("a" * 64,), "R").session_name()
