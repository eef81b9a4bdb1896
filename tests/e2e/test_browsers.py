"""Both browsers as Debian ships them sign their user in by Negotiate where they were told to, and axe finds what it should."""

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


@pytest.mark.parametrize("browser", [chromium, firefox])
def test_a_browser_that_was_told_signs_its_user_in_and_the_page_reads_well(
    browser: Open, house: House, alice: dict[str, str], tmp_path: Path
) -> None:
    with browser(tmp_path / "profile", alice) as page:
        response = page.goto(house.broker.url)
        assert response is not None
        assert response.status == 200
        assert page.inner_text("h1") == "alice@EXAMPLE.COM"
        assert axe.findings(page) == []


def test_what_keeps_people_out_is_found(tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<!doctype html><html lang=en><title>x</title><main><h1>x</h1><button></button></main></html>")
    with chromium(tmp_path / "profile", {}) as page:
        page.goto(broken.as_uri())
        assert [line.partition(":")[0] for line in axe.findings(page)] == ["button-name"]
