"""docs/reliability.md and the table in code have the same faults, and the tests that are named exist."""

from __future__ import annotations

import pytest

from bench.faults import FAULTS, Fault
from tests.architecture.test_threat_model import ROOT, functions_of

PAGE = ROOT / "docs" / "reliability.md"
# What is promised (design): neither the page nor the table loses a row together with the other.
ROWS = 14


def promised() -> list[tuple[str, str]]:
    """Fault and right behaviour of each row of the page's first table."""
    _, _, rest = PAGE.read_text().partition("| fault | right behaviour |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    cells = [row.strip("| ").split(" | ") for row in rows]
    return [(fault, right) for fault, right in cells]


def test_the_page_promises_what_the_table_holds() -> None:
    assert promised() == [(fault.what, fault.right) for fault in FAULTS]
    assert len(FAULTS) == ROWS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_each_fault_is_injected_by_tests_that_exist(fault: Fault) -> None:
    assert fault.tests
    for name in fault.tests:
        path, _, function = name.partition("::")
        assert function in functions_of(path), name
