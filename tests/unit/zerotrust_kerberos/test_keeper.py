"""When credentials are asked for, when they are not, and what happens when there are none."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker.wire import REFRESH_AT
from zerotrust_kerberos.sdk.credentials import Credentials, Wiped
from zerotrust_kerberos.sdk.keeper import AGAIN, LAST, Keeper
from zerotrust_kerberos.sdk.secret_manager import ZeroTrustError

HOUR = 3600
BEGIN = 1_800_000_000


def made(number: int, ends: float) -> Credentials:
    return Credentials(
        {
            "AccessKeyId": f"ASIA{number}",
            "SecretAccessKey": "secret",
            "SessionToken": "token",
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends)),
            "RoleArn": "arn:aws:iam::111122223333:role/Developer",
        }
    )


def error(exit_status: int) -> ZeroTrustError:
    return ZeroTrustError("no [CODE] — run: it", code="CODE", exit_status=exit_status)


class Broker:
    """Gives sets of an hour, or the failure that it was told; counts."""

    def __init__(self) -> None:
        self.now = float(BEGIN)
        self.asked = 0
        self.failure: ZeroTrustError | None = None
        self.ends: float | None = None
        self.keeper = Keeper(self.ask, now=lambda: self.now)

    def ask(self) -> Credentials:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return made(self.asked, self.ends or self.now + HOUR)

    def key(self) -> str:
        return self.keeper.current().access_key_id


def test_one_set_serves_until_twenty_minutes_are_left_and_then_there_is_a_new_one() -> None:
    broker = Broker()
    assert broker.key() == "ASIA1"
    broker.now += 40 * 60 - 1
    assert broker.key() == "ASIA1"
    broker.now += 1
    assert broker.key() == "ASIA2"


@pytest.mark.parametrize("exit_status", [1, 3, 5, 6, 8], ids=["other", "no ticket", "no broker", "AWS", "throttled"])
def test_what_is_there_serves_to_its_last_minute_while_the_broker_cannot_be_asked(exit_status: int) -> None:
    broker = Broker()
    broker.key()
    broker.failure = error(exit_status)
    broker.now += HOUR - REFRESH_AT
    assert [broker.key() for _ in range(5)] == ["ASIA1"] * 5
    assert broker.asked == 2, "once a minute is enough"
    broker.now += AGAIN
    assert broker.key() == "ASIA1"
    assert broker.asked == 3
    broker.now = BEGIN + HOUR - LAST
    with pytest.raises(ZeroTrustError) as caught:
        broker.key()
    assert caught.value.exit_status == exit_status
    broker.failure = None
    assert broker.key() == "ASIA5"


@pytest.mark.parametrize("exit_status", [4, 7], ids=["denied or revoked", "no time box any more"])
def test_a_no_of_the_broker_ends_it_at_once(exit_status: int) -> None:
    broker = Broker()
    broker.key()
    broker.failure = error(exit_status)
    broker.now += HOUR - REFRESH_AT
    for _ in range(2):
        with pytest.raises(ZeroTrustError) as caught:
            broker.key()
        assert caught.value.exit_status == exit_status
    assert broker.keeper.fresh() is None


def test_what_ends_with_the_ticket_is_not_asked_for_at_every_signature() -> None:
    broker = Broker()
    broker.ends = BEGIN + REFRESH_AT - 120
    assert [broker.key() for _ in range(20)] == ["ASIA1"] * 20
    assert broker.asked == 1
    broker.now += AGAIN
    assert broker.key() == "ASIA1", "what ends no later than ours is no better"
    assert broker.asked == 2


def test_of_a_hundred_threads_one_asks_and_all_have_the_answer() -> None:
    broker = Broker()
    gate = threading.Barrier(100)

    def key(_: int) -> str:
        gate.wait()
        return broker.key()

    with ThreadPoolExecutor(100) as pool:
        assert set(pool.map(key, range(100))) == {"ASIA1"}
    assert broker.asked == 1


def test_who_has_credentials_does_not_wait_for_who_renews_them() -> None:
    broker = Broker()
    broker.key()
    broker.now += HOUR - REFRESH_AT
    asking, answer = threading.Event(), threading.Event()

    def slow() -> Credentials:
        asking.set()
        answer.wait(60)
        return made(2, broker.now + HOUR)

    broker.keeper._ask = slow
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(broker.key)
        asking.wait(60)
        assert broker.key() == "ASIA1"
        answer.set()
        assert renewing.result() == "ASIA2"


class Counting:
    """A lock that knows how many came to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._came = threading.Semaphore(0)

    def __enter__(self) -> None:
        self._came.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self._came.acquire(timeout=60)


def test_who_waited_for_a_dead_broker_does_not_ask_it_again() -> None:
    broker = Broker()
    lock, answer = Counting(), threading.Event()

    def slow() -> Credentials:
        broker.asked += 1
        answer.wait(60)
        raise error(5)

    broker.keeper._ask = slow
    broker.keeper._asking = lock  # type: ignore[assignment]
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(broker.key) for _ in range(20)]
        lock.wait_for(20)
        answer.set()
        assert all(isinstance(each.exception(), ZeroTrustError) for each in waiting)
    assert broker.asked == 1


def test_a_forked_child_asks_for_its_own() -> None:
    broker = Broker()
    parents = broker.keeper.current()
    broker.keeper._asking.acquire()  # another thread's, at the moment of the fork
    child = os.fork()
    if child == 0:
        try:
            own = broker.keeper.current()
            os._exit(0 if (own.access_key_id, own.secret_access_key) == ("ASIA2", "secret") else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    broker.keeper._asking.release()
    assert broker.keeper.current() is parents


def test_what_is_wiped_is_wiped_and_a_copy_is_not() -> None:
    broker = Broker()
    found = broker.keeper.current()
    copy = found.copy()
    broker.keeper.wipe()
    with pytest.raises(Wiped):
        _ = found.secret_access_key
    assert (copy.secret_access_key, copy.session_token) == ("secret", "token")
    assert broker.key() == "ASIA2"


def test_credentials_know_their_account_and_their_end() -> None:
    found = made(1, BEGIN)
    assert (found.account_id, found.ends) == ("111122223333", BEGIN)
