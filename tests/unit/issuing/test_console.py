"""Which credentials a console is opened with."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.core.credentials import Credentials
from broker.core.secret import Secret
from tests.unit.issuing.test_issue import House, token_for


class SignIn:
    """Says which credentials it was shown."""

    async def url(self, credentials: Credentials, **_: str | None) -> Secret:
        return Secret(credentials.access_key_id)


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> House:
    made = House()
    monkeypatch.setattr(made.issuer, "_console", SignIn())
    return made


async def opened_with(house: House) -> str:
    ask = house.asking(authorization=token_for("alice@R"))
    url = await house.issuer.open_console(ask, role="developer", scope=None, destination=None, issuer=None)
    return url.reveal()


async def test_a_console_is_opened_with_what_the_cache_has_while_most_of_its_time_is_ahead(house: House) -> None:
    cached = (await house.ask()).access_key_id
    house.clock.moment += timedelta(minutes=14)
    assert await opened_with(house) == cached


async def test_a_console_that_would_end_soon_gets_credentials_of_its_own_which_the_next_request_has_too(
    house: House,
) -> None:
    cached = (await house.ask()).access_key_id
    house.clock.moment += timedelta(minutes=16)
    fresh = await opened_with(house)
    assert fresh != cached
    assert (await house.ask()).access_key_id == fresh
    assert house.sts.calls == 2
    assert house.diary.count("intent") == 2
