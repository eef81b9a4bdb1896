"""Session tags: what AWS takes, and that two identities never look alike in one."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core import tags
from broker.core.principal import NameType, Principal
from broker.core.tags import MalformedTag, Placeholder, SessionTag, TagTemplate, encoded, group_text, principal_text

# Anything that a principal, realm or group could be made of, surrogates (bytes that are no UTF-8) excepted.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
principals = st.builds(
    lambda components, realm, name_type: Principal(tuple(components), realm, name_type),
    st.lists(texts, min_size=1, max_size=3),
    texts,
    st.sampled_from(NameType),
)
templates = st.lists(
    st.sampled_from([f"{{{one}}}" for one in Placeholder]) | st.text("abc XYZ09_.:/=+-@\u00fc\u4e2d", max_size=8),
    max_size=5,
).map("".join)


def is_taken_by_aws(text: str) -> bool:
    r"""``[\p{L}\p{Z}\p{N}_.:/=+\-@]*``, written anew."""
    return all(char in "_.:/=+-@" or re.match("[LZN]", unicodedata.category(char)) for char in text)


@given(principals, principals)
def test_two_principals_never_have_the_same_text(one: Principal, other: Principal) -> None:
    assert (principal_text(one) == principal_text(other)) == (one == other)


@given(texts, texts)
def test_two_realms_or_groups_never_have_the_same_text(one: str, other: str) -> None:
    assert (encoded(one) == encoded(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a=2C", "a,"), ("a", "A"), ("a", "a "), ("\u00fc", "u\u0308"), ("a b", "a\u00a0b"), ("=", "=3D")],
)
def test_what_looks_alike_is_told_apart(one: str, other: str) -> None:
    assert encoded(one) != encoded(other)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("alice@EXAMPLE.COM", "alice@EXAMPLE.COM"),
        ("alice/admin@EXAMPLE.COM", "alice/admin@EXAMPLE.COM"),
        ("odd\\/name@EXAMPLE.COM", "odd=2Fname@EXAMPLE.COM"),
    ],
)
def test_a_principal_reads_as_klist_prints_it(name: str, text: str) -> None:
    assert principal_text(Principal.parse(name)) == text


@pytest.mark.parametrize(
    ("group", "text"),
    [
        ("EXAMPLE.COM\\aws-dev", "aws-dev"),
        ("AD.EXAMPLE.COM\\Domain Admins", "Domain Admins"),
        ("AD.EXAMPLE.COM\\R&D, M\u00fcnchen", "R=26D=2C M\u00fcnchen"),
        ("S-1-5-21-1-2-3-1105", "S-1-5-21-1-2-3-1105"),
    ],
)
def test_a_group_is_its_name_without_the_realm_or_its_sid(group: str, text: str) -> None:
    assert group_text(group) == text


@given(templates, principals, texts, texts.map(lambda name: "R\\" + name))
def test_whatever_a_template_gives_aws_takes_and_it_is_no_longer_than_was_said(
    template: str, principal: Principal, realm: str, group: str
) -> None:
    parsed = TagTemplate.parse(template)
    values = {
        Placeholder.PRINCIPAL: principal_text(principal),
        Placeholder.REALM: encoded(realm),
        Placeholder.GROUP: group_text(group),
        Placeholder.RULE: "a-rule",
        Placeholder.ROLE: "a-role",
        Placeholder.EVENT: "0123456789abcdef01234567",
    }
    value = parsed.render(values)
    assert value is not None
    assert is_taken_by_aws(value)
    assert len(value) <= parsed.longest(
        tags.longest(realms=[realm], groups=[group], rules=["a-rule"], roles=["a-role"])
    )
    expected = template
    for placeholder, text in values.items():
        # Texts hold no braces, so replacing one after the other is what rendering means.
        expected = expected.replace(f"{{{placeholder}}}", text)
    assert value == expected


@given(templates)
def test_where_a_placeholder_has_no_value_there_is_no_tag(template: str) -> None:
    values = dict.fromkeys(Placeholder, "x") | {Placeholder.GROUP: None}
    assert (TagTemplate.parse(template).render(values) is None) == ("{group}" in template)


@given(st.text(max_size=30))
def test_any_text_is_a_template_or_is_refused(text: str) -> None:
    try:
        parsed = TagTemplate.parse(text)
    except MalformedTag:
        return
    assert is_taken_by_aws("".join(part for part in parsed.parts if not isinstance(part, Placeholder)))


@given(st.text(max_size=140))
def test_a_key_is_taken_only_as_aws_takes_it(key: str) -> None:
    good = 1 <= len(key) <= 128 and is_taken_by_aws(key) and not key.lower().startswith("aws:")
    try:
        tags.check_key(key)
    except MalformedTag:
        assert not good
    else:
        assert good


def test_a_session_s_tags_are_checked_as_a_whole() -> None:
    def named(*keys: str, value: str = "v") -> list[SessionTag]:
        return [SessionTag(key=key, value=value, transitive=False, optional=False) for key in keys]

    tags.check(named(*(f"k{number}" for number in range(50)), value="v" * 256))
    tags.check(named("a", value=""))
    for wrong in (
        named(*(f"k{number}" for number in range(51))),
        named("Team", "team"),
        named("stra\u00dfe", "STRASSE"),
        named("aws:x"),
        named("a", value="v" * 257),
        named("a", value="\t"),
    ):
        with pytest.raises(MalformedTag):
            tags.check(wrong)
