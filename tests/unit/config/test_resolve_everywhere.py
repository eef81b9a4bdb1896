"""Whatever a vault answers for whichever key: a value, or a line that shows nothing of it. Never anything worse."""

from __future__ import annotations

import pytest

from broker.config.fields import Leaf, leaves
from broker.config.model import Settings
from broker.core.errors import ConfigurationError
from tests.unit.config.conftest import Host
from tests.unit.config.test_resolve import VAULT, Answering, loaded

LEAVES = [leaf for leaf in leaves(Settings) if leaf.shape.comes_from_elsewhere]
HOSTILE = [
    "canary\x1b[31m\n{*a: canary}\0",
    "https://canary:canary@x/?canary",
    "enc:v1:canary" + "9" * 10_000,
]


def problems(host: Host, minimal: str, leaf: Leaf, resolver: Answering) -> str:
    """Nothing where there are none."""
    try:
        loaded(host, minimal + VAULT, resolver, **{f"{leaf.variable}_SECRET": "v/x#f"})
    except ConfigurationError as error:
        return " ".join(error.problems)
    return ""


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.variable)
def test_no_key_shows_what_the_vault_answers_for_it(host: Host, minimal: str, leaf: Leaf) -> None:
    for value in HOSTILE:
        said = problems(host, minimal, leaf, Answering({"v/x": {"f": value}}))
        assert "canary" not in said
        assert said.isprintable()
        assert len(said) < 1000


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.variable)
def test_a_key_that_nobody_needs_is_not_asked_for_or_is_a_line(host: Host, minimal: str, leaf: Leaf) -> None:
    resolver = Answering({"v/x": {"f": "canary"}}, sections=frozenset())
    assert "canary" not in problems(host, minimal, leaf, resolver)
    assert not (leaf.shape.is_secret and resolver.asked)
