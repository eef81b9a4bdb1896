"""Both browsers as Debian ships them: they sign their user in by Negotiate where they were told to, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.e2e.conftest import House
from tests.fakes import axe
from tests.fakes.browsers import chromium, firefox

Open = Callable[..., AbstractContextManager[Page]]

both = pytest.mark.parametrize("browser", [chromium, firefox])


@both
def test_a_browser_that_was_told_signs_its_user_in_and_the_page_reads_well(
    browser: Open, house: House, alice: dict[str, str], tmp_path: Path
) -> None:
    with browser(tmp_path / "profile", alice) as page:
        response = page.goto(house.broker.url)
        assert response is not None
        assert response.status == 200
        assert page.inner_text("h1") == "alice@EXAMPLE.COM"
        assert axe.findings(page) == []


@both
def test_a_browser_that_was_not_told_sends_nothing_and_shows_the_help_page(
    browser: Open, house: House, alice: dict[str, str], tmp_path: Path
) -> None:
    before = len(house.broker.records())
    with browser(tmp_path / "profile", alice, trusts=False) as page:
        response = page.goto(house.broker.url)
        assert response is not None
        assert response.status == 401
        assert page.inner_text("h1") == "A Kerberos ticket is needed"
        assert axe.findings(page) == []
    assert len(house.broker.records()) == before, "no ticket was ever sent"


def test_what_keeps_people_out_is_found(tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<!doctype html><html lang=en><title>x</title><main><h1>x</h1><button></button></main></html>")
    with chromium(tmp_path / "profile", {}) as page:
        page.goto(broken.as_uri())
        assert [line.partition(":")[0] for line in axe.findings(page)] == ["button-name"]
