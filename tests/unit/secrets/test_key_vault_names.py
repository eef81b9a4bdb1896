"""How our paths become names in Azure Key Vault: each its own, and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from broker.secrets.provider import PATH_MAX, is_path
from broker.secrets.providers.azure import NAME_MAX, PATH_TAG, name_of, path_of

_NAME = re.compile(r"[0-9a-z-]{1,127}")

paths = st.from_regex(r"[A-Za-z0-9_.@-]+(/[A-Za-z0-9_.@-]+){0,6}", fullmatch=True).filter(is_path)
# Names that lie close to each other are where an encoding goes wrong.
close = st.lists(st.sampled_from(["-", "--", "/", "_", "a", "A", "2d", "5f", "---2d"]), min_size=1, max_size=6)


@given(paths)
@example("a" * PATH_MAX)
@example("A" * PATH_MAX)
@example("-/-")
@example("a-/b")
@example("a/-b")
def test_every_path_has_a_name_that_key_vault_takes_and_comes_back_from_it(path: str) -> None:
    name = name_of(path)
    assert _NAME.fullmatch(name)
    assert len(name) <= NAME_MAX
    assert path_of(name, {PATH_TAG: path}) == path
    # A name is not told apart by its capitals there.
    assert path_of(name.upper(), {PATH_TAG: path}) == path


@given(close, close)
@example(["a", "-", "/", "a"], ["a", "/", "-", "a"])
def test_no_two_paths_have_the_same_name(one: list[str], other: list[str]) -> None:
    a, b = "".join(one), "".join(other)
    assume(is_path(a) and is_path(b))
    assert (name_of(a) == name_of(b)) == (a == b)


@given(st.from_regex(r"[0-9A-Za-z-]{1,40}", fullmatch=True))
def test_a_name_is_read_as_one_path_or_none(name: str) -> None:
    path = path_of(name, {})
    assert path is None or name_of(path) == name.lower()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("database/prod", "database--prod"),
        ("db-password", "db-password"),
        ("DB_1", "---44---42---5f1"),
        ("a-/b", "a---2d--b"),
        ("alice@example.com", "alice---40example---2ecom"),
    ],
)
def test_names_are_what_the_documentation_says(path: str, name: str) -> None:
    assert name_of(path) == name


@pytest.mark.parametrize("name", ["", "-", "a-", "-a", "a----b", "a---", "a---zz", "a---61", "----" + "0" * 64, "a_b"])
def test_a_name_that_no_path_has_is_nobody_s(name: str) -> None:
    assert path_of(name, {PATH_TAG: "some/path"}) is None
