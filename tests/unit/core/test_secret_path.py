"""Paths of secrets, and the patterns that rules name them by: letter by letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.pattern import UnsafePattern
from broker.core.secret_path import PATH_MAX, PathPattern, is_path

_COMPONENT = st.text("ab.@-_", min_size=1, max_size=3).filter(lambda text: text not in {".", ".."})
PATHS = st.lists(_COMPONENT, min_size=1, max_size=4).map("/".join)
_STARRED = st.lists(_COMPONENT | st.just("*"), max_size=4)
PATTERNS = st.tuples(_STARRED, st.booleans()).filter(any).map(lambda made: "/".join([*made[0], *["**"] * made[1]]))


def means(pattern: str, path: str) -> bool:
    return PathPattern.parse(pattern).matches(path)


HOSTILE = [
    "", "/", "a/", "/a", "a//b", ".", "..", "a/..", "../a", "a/../b", "a/./b", "a%2fb", "%2e%2e", "a\\b", "a b", "a\n", "a\x00",
    "ä", "a\u0301", "\uff0fa", "a:b", "a?b", "a#b", "a*", "*", "a" * 257, "a;b", "a,b", "~", "a+b",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_could_be_read_as_another_path_is_none(text: str) -> None:
    assert not is_path(text)


def test_a_path_is_as_long_as_every_backend_takes() -> None:
    assert is_path("a" * PATH_MAX)
    assert PATH_MAX == 256
    assert all(map(is_path, ["a", "team-a/db", "...", "a/..b", "A@b_c.d-e", ".hidden/x"]))


@pytest.mark.parametrize(
    ("pattern", "meant", "not_meant"),
    [
        ("team-a/db", ["team-a/db"], ["team-a/DB", "Team-a/db", "team-a/db/x", "team-a", "team-a/dbx"]),
        ("team-a/*", ["team-a/db", "team-a/x"], ["team-a", "team-a/db/root", "team-ab/db", "team-b/db"]),
        ("team-a/**", ["team-a/db", "team-a/db/root"], ["team-a", "team-ab/db", "x/team-a/db"]),
        ("*/db", ["a/db", "b/db"], ["db", "a/b/db", "a/dbx"]),
        ("*/db/**", ["a/db/x", "a/db/x/y"], ["a/db", "a/b/db/x"]),
        ("**", ["a", "a/b/c"], []),
        ("*", ["a"], ["a/b"]),
    ],
)
def test_a_star_is_one_component_and_two_at_the_end_are_one_or_more(
    pattern: str, meant: list[str], not_meant: list[str]
) -> None:
    assert [path for path in [*meant, *not_meant] if means(pattern, path)] == meant


@pytest.mark.parametrize(
    "text", ["team*", "a/*b", "**/a", "a/**/b", "***", "a/***", "", "/", "a/", "a//b", "../*", "a/../**", "ä/*"]
)
def test_a_pattern_that_says_something_else_is_refused(text: str) -> None:
    with pytest.raises(UnsafePattern):
        PathPattern.parse(text)


@given(PATTERNS)
def test_a_pattern_is_written_as_it_was_read(text: str) -> None:
    assert str(PathPattern.parse(text)) == text


@given(PATHS, PATHS)
def test_a_pattern_without_a_star_means_one_secret(one: str, other: str) -> None:
    assert means(one, other) == (one == other)


@given(PATTERNS, PATHS)
def test_what_two_stars_mean_goes_on_for_ever_and_what_one_means_ends(pattern: str, path: str) -> None:
    if means(pattern, path):
        assert means(pattern, f"{path}/more") == pattern.endswith("**")


@given(PATTERNS, PATHS, st.lists(_COMPONENT, min_size=1, max_size=4).map("/".join))
def test_whatever_is_meant_below_a_prefix_reaches_below_it(pattern: str, prefix: str, rest: str) -> None:
    if means(pattern, f"{prefix}/{rest}"):
        assert PathPattern.parse(pattern).reaches_below(prefix)
    if means(pattern, rest):
        assert PathPattern.parse(pattern).reaches_below("")


@given(PATTERNS, PATHS)
def test_what_reaches_below_a_prefix_means_something_there(pattern: str, prefix: str) -> None:
    parsed = PathPattern.parse(pattern)
    if parsed.reaches_below(prefix):
        wanted = [*parsed.components, *["x"] * parsed.has_rest]
        filled = [*prefix.split("/"), *wanted[len(prefix.split("/")) :]]
        filled += ["x"] * (len(filled) == len(prefix.split("/")))
        assert parsed.matches("/".join("x" if part == "*" else part for part in filled))
