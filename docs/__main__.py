"""``python -m docs``: writes the pages that are made from the code, and removes those that are none any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from docs import failure_pages, http_page
from docs.markdown import Page
from man.pages import pages as manual

FOLDER = Path(__file__).parent
_REFERENCE = FOLDER / "reference"
# Sphinx itself fills it, from the docstrings.
_BY_HAND = _REFERENCE / "python.md"
_PROGRAMS = {"zerotrust", "zerotrust-admin", "zerotrust-broker"}
_CONTENTS = """
```{{toctree}}
:hidden:

{}
```
"""


def made() -> Iterator[tuple[Path, str]]:
    """Each file, and what is to stand in it."""
    for name, text in failure_pages.pages():
        yield FOLDER / "failures" / name, text
    pages = {name[:-2]: text for name, text in manual(Page).items()}
    # Its commands have pages of their own, below it.
    pages["zerotrust"] += _CONTENTS.format("\n".join(sorted(pages.keys() - _PROGRAMS)))
    for name, text in {**pages, "http": http_page.page()}.items():
        yield _REFERENCE / f"{name}.md", text


def written() -> set[Path]:
    """What is there of them."""
    return {*(FOLDER / "failures").glob("*.md"), *_REFERENCE.glob("*.md")} - {_BY_HAND}


def main() -> None:
    """Write them."""
    wanted = dict(made())
    for file in written() - set(wanted):
        file.unlink()
    for file, text in wanted.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
