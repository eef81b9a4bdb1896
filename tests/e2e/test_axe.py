"""What the tests of pages ask whether a page reads well finds what does not."""

from __future__ import annotations

from pathlib import Path

from tests.fakes import axe
from tests.fakes.browsers import chromium


def test_what_keeps_people_out_is_found(tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<!doctype html><html lang=en><title>x</title><main><h1>x</h1><button></button></main></html>")
    with chromium(tmp_path / "profile", {}) as page:
        page.goto(broken.as_uri())
        assert [line.partition(":")[0] for line in axe.findings(page)] == ["button-name"]
