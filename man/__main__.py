"""``python -m man``: writes the pages into ``man/man1`` and ``man/man8``, and removes those that are none any more."""

from __future__ import annotations

from pathlib import Path

from man.pages import pages

FOLDER = Path(__file__).parent


def main() -> None:
    """Write them."""
    made = {FOLDER / f"man{name[-1]}" / name: text for name, text in pages().items()}
    for file in {*FOLDER.glob("man[18]/*"), *made}:
        if file in made:
            file.parent.mkdir(exist_ok=True)
            file.write_text(made[file], encoding="utf-8")
        else:
            file.unlink()


if __name__ == "__main__":
    main()
