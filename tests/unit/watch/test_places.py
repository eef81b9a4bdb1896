"""Where addresses are, by a real database: one that is missing, damaged or changed, too."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.core.errors import ConfigurationError
from broker.watch.places import Places
from tests.fakes.places import BERLIN, SYDNEY, database


@pytest.fixture
def opened() -> Iterator[Callable[[Path | None], Places]]:
    """Opens databases, and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def places(path: Path | None) -> Places:
            made = Places(path)
            stack.callback(made.close)
            return made

        yield places


Open = Callable[[Path | None], Places]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return database(tmp_path / "city.mmdb", {"192.0.2.0/24": BERLIN, "2001:db8::/32": SYDNEY})


def test_an_address_has_a_place_with_a_name(file: Path, opened: Open) -> None:
    places = opened(file)
    found = places.of("192.0.2.9")
    assert found is not None
    assert (found.latitude, found.longitude, found.name) == (52.52, 13.4, "Berlin, Germany")
    again = places.of("2001:db8::1")
    assert again is not None
    assert again.name == "Sydney"


def test_an_address_that_the_database_does_not_know_is_nowhere(file: Path, opened: Open) -> None:
    places = opened(file)
    assert (places.of("10.0.0.1"), places.of("fe80::1%eth0"), places.of("no address")) == (None, None, None)


def test_without_a_database_nobody_is_anywhere(opened: Open) -> None:
    places = opened(None)
    assert (places.of("192.0.2.9"), places.reload()) == (None, False)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "is no database, or is damaged"),
        (b"<html>404</html>" * 100, "is no database, or is damaged"),
        ("cut", "is no database, or is damaged"),
        ("country", "says of no address where it is"),
    ],
    ids=["missing", "empty", "html", "cut", "of countries only"],
)
def test_what_cannot_be_used_is_a_fault_with_its_fix(
    file: Path, tmp_path: Path, content: bytes | str | None, what: str
) -> None:
    path = tmp_path / "other.mmdb"
    if content == "country":
        database(path, {"192.0.2.0/24": {"country": {"iso_code": "DE"}}})
    elif content is not None:
        path.write_bytes(file.read_bytes()[:-60] if content == "cut" else bytes(content))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as refused:
        Places(path)
    (problem,) = refused.value.problems
    assert problem == f"watch.geoip_database: {path} {what} — fix: name a City database in MaxMind's format (.mmdb)"


def test_a_changed_file_is_taken_over_and_a_broken_one_leaves_the_old_in_force(
    file: Path, tmp_path: Path, opened: Open
) -> None:
    places = opened(file)
    assert places.of("192.0.2.9") is not None
    assert places.reload() is False
    database(tmp_path / "new", {"192.0.2.0/24": SYDNEY}).rename(file)
    assert places.reload() is True
    moved = places.of("192.0.2.9")
    assert moved is not None
    assert moved.name == "Sydney"
    (tmp_path / "bad").write_bytes(b"broken")
    (tmp_path / "bad").rename(file)
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            places.reload()
    assert places.of("192.0.2.10") == moved
    file.unlink()
    with pytest.raises(ConfigurationError):
        places.reload()
    assert places.of("192.0.2.11") == moved


def test_a_file_that_is_overwritten_in_place_ends_nobody(file: Path, opened: Open) -> None:
    places = opened(file)
    with file.open("r+b") as torn:
        torn.truncate(40)
    for last in range(256):
        places.of(f"192.0.2.{last}")
    file.write_bytes(b"\xff" * 4096)
    for last in range(256):
        places.of(f"192.0.3.{last}")
