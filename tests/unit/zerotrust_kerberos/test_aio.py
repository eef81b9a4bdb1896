"""An event loop goes on while the broker is asked, and asks once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.unit.zerotrust_kerberos.test_keeper import BEGIN, HOUR, error, made
from zerotrust_kerberos import AsyncBroker
from zerotrust_kerberos.sdk import secret_manager
from zerotrust_kerberos.sdk.credentials import Credentials, Wiped
from zerotrust_kerberos.sdk.secret_manager import ZeroTrustError


class Answers:
    """Stands in for the exchange with the broker, which blocks until the test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str | None] = []
        self.open = threading.Event()
        self.failure: ZeroTrustError | None = None
        monkeypatch.setenv("ZEROTRUST_BROKER_URL", "http://localhost:1")
        monkeypatch.setattr(secret_manager.SecretManager, "get_aws_credentials", self._answer)

    def _answer(self, _arn: str | None = None, *, role: str | None, **_: object) -> Credentials:
        self.asked.append(role)
        assert self.open.wait(60)
        if self.failure is not None:
            raise self.failure
        return made(len(self.asked), BEGIN * 2 + HOUR)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


async def until_asked(answers: Answers, times: int) -> None:
    while len(answers.asked) < times:  # noqa: ASYNC110  the other side is a thread
        await asyncio.sleep(0.01)


async def test_a_hundred_tasks_ask_once_and_the_loop_goes_on_meanwhile(answers: Answers) -> None:
    async with AsyncBroker() as broker:
        tasks = [asyncio.create_task(broker.get_credentials("developer")) for _ in range(100)]
        await until_asked(answers, 1)  # turns of the loop, while the thread is blocked
        assert not any(task.done() for task in tasks)
        answers.open.set()
        assert {found.access_key_id for found in await asyncio.gather(*tasks)} == {"ASIA1"}
        assert (await broker.get_credentials("developer")).access_key_id == "ASIA1"
    assert answers.asked == ["developer"]


async def test_roles_and_scopes_are_kept_apart(answers: Answers) -> None:
    answers.open.set()
    async with AsyncBroker() as broker:
        wanted = [{}, {"scope": "readonly"}, {"reason": "INC-1"}]
        found = [await broker.get_credentials("developer", **each) for each in wanted]
        assert len({each.access_key_id for each in found}) == 3
        assert (await broker.get_credentials("readonly")).access_key_id == "ASIA4"
        assert (await broker.get_credentials("developer")).access_key_id == "ASIA1"


async def test_who_wipes_takes_nothing_from_others_and_the_end_of_the_block_wipes_what_is_kept(
    answers: Answers,
) -> None:
    answers.open.set()
    async with AsyncBroker() as broker:
        with await broker.get_credentials("developer") as first:
            pass
        with pytest.raises(Wiped):
            _ = first.secret_access_key
        second = await broker.get_credentials("developer")
        assert second.secret_access_key == "secret"
        (keeper,) = broker._keepers.values()
        kept = keeper.current()
    with pytest.raises(Wiped):
        _ = kept.secret_access_key
    assert answers.asked == ["developer"]


async def test_a_task_that_gives_up_takes_the_answer_from_nobody(answers: Answers) -> None:
    async with AsyncBroker() as broker:
        impatient = asyncio.create_task(broker.get_credentials("developer"))
        patient = asyncio.create_task(broker.get_credentials("developer"))
        await until_asked(answers, 1)
        impatient.cancel()
        await asyncio.wait([impatient])
        answers.open.set()
        assert (await patient).access_key_id == "ASIA1"
    assert answers.asked == ["developer"]


async def test_all_who_asked_hear_why_there_is_nothing_and_the_next_one_asks_again(answers: Answers) -> None:
    answers.failure = error(5)
    async with AsyncBroker() as broker:
        tasks = [asyncio.create_task(broker.get_credentials("developer")) for _ in range(10)]
        await until_asked(answers, 1)
        answers.open.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in found} == {ZeroTrustError}
        assert answers.asked == ["developer"]
        answers.failure = None
        assert (await broker.get_credentials("developer")).access_key_id == "ASIA2"
