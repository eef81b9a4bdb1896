"""What many tests of the user's side ask: a broker's front door that authenticates for real and answers as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes import front_door
from tests.fakes.front_door import FrontDoor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.realm import Realm


@pytest.fixture(scope="module")
def _door(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    with FrontDoor.tcp(realm.keytab(tmp_path_factory.mktemp("door") / "keytab", "HTTP/localhost")) as door:
        yield door


@pytest.fixture
def door(_door: FrontDoor) -> FrontDoor:
    """One that gives credentials, and was visited by nobody yet."""
    _door.reply = front_door.credentials
    _door.visits.clear()
    return _door
