"""The pages as a site: those made from the code are what the code says, every link leads somewhere, every page is found."""

from __future__ import annotations

import subprocess
from pathlib import Path

from docs.__main__ import made, written
from zerotrust_kerberos.failures import TABLE

ROOT = Path(__file__).parents[2]
SPHINX = ROOT / ".venv" / "docs" / "bin" / "sphinx-build"


def test_the_pages_made_from_the_code_say_what_it_says() -> None:
    wanted = dict(made())
    assert {file: file.read_text(encoding="utf-8") for file in written()} == wanted, "run: make docs"


def test_there_is_a_page_for_each_code() -> None:
    pages = {file.stem for file in (ROOT / "docs" / "failures").glob("*.md")}
    assert pages == {*TABLE, "README"}


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [SPHINX, "--quiet", "--fail-on-warning", "--keep-going", "-c", ROOT / "docs", "-b", "dummy"]
    done = subprocess.run(
        [*command, "-d", tmp_path, ROOT, tmp_path], capture_output=True, text=True, timeout=110, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
