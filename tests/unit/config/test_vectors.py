"""Whole configurations, good and bad. A bad one ends with the lines that it must be refused with, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from broker.config.reference import schema

VECTORS = Path(__file__).parents[2] / "vectors" / "configs"
MARK = "# refused: "


def _named(folder: str) -> list[Any]:
    files = sorted((VECTORS / folder).glob("*.yaml"))
    assert files
    return [pytest.param(file.read_text(), id=file.stem) for file in files]


@pytest.mark.parametrize("text", _named("good"))
def test_a_good_configuration_is_accepted_by_the_loader_and_by_the_schema(host, text):
    assert host.load(text).kerberos.realms
    jsonschema.validate(yaml.safe_load(text), schema())


@pytest.mark.parametrize("text", _named("bad"))
def test_a_bad_configuration_is_refused_with_all_its_problems_at_once(host, text):
    expected = [line.removeprefix(MARK) for line in text.splitlines() if line.startswith(MARK)]
    assert host.problems(text) == expected
    assert expected


@pytest.mark.parametrize("text", _named("bad"))
def test_every_problem_is_one_line_with_place_and_fix_and_without_a_secret(host, text):
    for problem in host.problems(text):
        assert problem.startswith(("FILE:", "environment "))
        assert " — fix: " in problem
        assert problem.isprintable()
        assert "canary" not in problem
        assert "Input should" not in problem
