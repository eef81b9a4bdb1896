"""Brokers' instances that deny at AWS, in this process: the real ledger, worker and IAM client; only the session is made up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from broker.audit.event import Event
from broker.core.clock import SystemClock
from broker.core.credentials import Credentials
from broker.core.roles import LONGEST_CHAINED, Hop, RoleArn, RoleName
from broker.core.secret import Secret
from broker.issuing.denied import Target
from broker.issuing.deny import Denies
from broker.keys.hierarchy import KeyHierarchy
from broker.revocation.epochs import Epochs
from broker.sts.chain import Call
from broker.sts.iam import SESSION_NAME, RolePolicies
from tests.fakes.epochs import ledger_file

KEYS = KeyHierarchy(master=b"m" * 32)
ALICE, ROOT = "alice@R", "root/admin@R"
ACCOUNT = "111122223333"


def arn(name: str) -> RoleArn:
    return RoleArn.parse(f"arn:aws:iam::{ACCOUNT}:role/{name}")


def target(name: str, longest: timedelta = LONGEST_CHAINED) -> Target:
    return Target(arn(name), (RoleName(name.lower()),), longest)


class AheadClock(SystemClock):
    """The machine's, moved on."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead

    def boottime(self) -> float:
        return super().boottime() + self.ahead.total_seconds()


class Sts:
    """Gives a session for whatever chain, and says of which calls it was made."""

    def __init__(self, clock: SystemClock) -> None:
        self.clock = clock
        self.walked: list[list[Call]] = []
        self.error: Exception | None = None

    async def walk(self, calls: Sequence[Call], *, owner: object) -> Credentials:
        assert owner == SESSION_NAME
        self.walked.append(list(calls))
        if self.error is not None:
            raise self.error
        return Credentials(
            access_key_id="ASIATESTTESTTEST0001",
            secret_access_key=Secret("s"),
            session_token=Secret("t"),
            expiration=self.clock.now() + timedelta(minutes=15),
            account=calls[-1].arn.account,
            role_arn=calls[-1].arn.text,
        )


class Records:
    """An audit log in a list."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def record(self, event: Event) -> None:
        self.events.append(event)

    def said(self) -> list[tuple[str, str | None]]:
        return [(event.kind.value, event.reason) for event in self.events]


class Instance:
    """One broker's part of it. Instances with one folder are those of one host."""

    def __init__(self, folder: Path, url: str, *, clock: AheadClock | None = None, chance: float = 0.5) -> None:
        self.clock = clock or AheadClock()
        self.sts = Sts(self.clock)
        self.records = Records()
        self.epochs = Epochs(file=ledger_file(folder, KEYS), spread=None, clock=self.clock)
        self.roles = RolePolicies(
            sts=cast("Any", self.sts),
            chain=lambda account: [Hop(arn=RoleArn.parse(f"arn:aws:iam::{account}:role/Deny"), external_id="x-1")],
            region="eu-central-1",
            endpoint=url,
            clock=self.clock,
        )
        self.denies = Denies(
            roles=self.roles,
            epochs=self.epochs,
            audit=cast("Any", self.records),
            clock=self.clock,
            chance=lambda: chance,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Beside what a test does; ends as by a kill: nothing is written or said."""
        tasks = [asyncio.ensure_future(work()) for work in (self.epochs.keep_in_step, self.denies.keep_in_force)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self.roles.close()


async def until(condition: Callable[[], object], seconds: float = 8) -> None:
    """Wait for it."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # whatever it is, it tells nobody
            await asyncio.sleep(0.02)
