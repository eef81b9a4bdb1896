"""How our paths and fields become names and keys of Kubernetes: each its own, and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.remote.failure import Malformed, Refused
from broker.secrets.provider import PATH_MAX, is_path
from broker.secrets.providers.kubernetes import (
    KEY_MAX,
    NAME_MAX,
    PATH_ANNOTATION,
    field_of,
    key_of,
    name_of,
    path_of,
)

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")

paths = st.from_regex(r"[A-Za-z0-9_.@-]+(/[A-Za-z0-9_.@-]+){0,6}", fullmatch=True).filter(is_path)
fields = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
# Names that lie close to each other are where an encoding goes wrong.
close = st.lists(st.sampled_from(["x", "x2d", "-", ".", "a", "A", "_", "x41"]), min_size=1, max_size=5)


@given(paths)
@example("a" * PATH_MAX)
@example("A" * PATH_MAX)
@example("-/-")
@example("xx-0")
def test_every_path_has_a_name_that_kubernetes_takes_and_comes_back_from_it(path: str) -> None:
    name = name_of(path)
    assert len(name) <= NAME_MAX
    assert _SUBDOMAIN.fullmatch(name)
    assert path_of(name, {PATH_ANNOTATION: path}) == path


@given(close, close)
def test_two_paths_never_have_one_name(one: list[str], other: list[str]) -> None:
    first, second = "/".join(one).replace("/x", "x"), "/".join(other).replace("/x", "x")
    assert (name_of(first) == name_of(second)) == (first == second)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("database/prod-eu", "database.prod-eu"),
        ("apps/DB_1", "apps.x44x42x5f1"),
        ("max/-", "max78.x2d"),
        ("v1.2/a@b", "v1x2e2.ax40b"),
    ],
)
def test_the_table_of_names_that_is_documented(path: str, name: str) -> None:
    assert name_of(path) == name


@given(st.from_regex(_SUBDOMAIN, fullmatch=True))
@example("max")  # an x of somebody who knows nothing of us
@example("xx-00")
@example("ax2fb")  # a slash, which is written as a dot
@example("x61")  # an a, which stands for itself
def test_a_name_stands_for_a_path_only_if_that_path_has_this_name(name: str) -> None:
    path = path_of(name, {})
    assert path is None or name_of(path) == name


def test_a_hash_without_its_path_is_nobodys() -> None:
    long = "A" * 200
    assert path_of(name_of(long), {}) is None
    assert path_of(name_of(long), {PATH_ANNOTATION: "A" * 199}) is None


@given(fields)
@example("..")
@example("_x_x5f_")
@example("tls.crt")
def test_every_field_has_a_key_that_kubernetes_takes_and_comes_back_from_it(field: str) -> None:
    try:
        key = key_of(field)
    except Refused:
        assert len(field) * len("_x10ffff_") > KEY_MAX
        return
    assert _KEY.fullmatch(key)
    assert key not in {".", ".."}
    assert not key.startswith("..")
    assert field_of(key) == field


@pytest.mark.parametrize("usual", ["password", "tls.crt", "api-key", "DB_PASSWORD", ".dockerconfigjson"[1:], "max"])
def test_what_kubernetes_takes_as_a_key_is_its_own_key(usual: str) -> None:
    assert key_of(usual) == usual


@given(st.from_regex(_KEY, fullmatch=True))
@example("_x2d_")
@example("_xffffff_")
@example("_x0041_")
def test_two_keys_never_stand_for_one_field(key: str) -> None:
    try:
        assert key_of(field_of(key)) == key
    except (Malformed, Refused):
        return  # nobody's


@pytest.mark.parametrize("field", ["", "f" * 254, "ß" * 60])
def test_a_field_that_kubernetes_has_no_key_for_is_refused(field: str) -> None:
    with pytest.raises(Refused):
        key_of(field)
