"""What an endpoint has its one role's credentials by: the ticket, for as long as there is one, or a job pass made with it now."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import random
import time
from collections.abc import Callable
from typing import Protocol

from broker import wire
from broker.locked import AtRest
from zerotrust_kerberos import times
from zerotrust_kerberos.agent.errand import errand
from zerotrust_kerberos.agent.keeper import Keeper, Wanted
from zerotrust_kerberos.agent.source import Source
from zerotrust_kerberos.answers import object_of, text_of
from zerotrust_kerberos.ask import ask, ask_by_pass
from zerotrust_kerberos.credential_process import obtained, question
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.settings import Settings
from zerotrust_kerberos.watch import Watch

# Seconds. What each text of a pass is good for: when we are killed and cannot give it back, it ends so soon.
PASS_LIFETIME = 2 * 3600
# Between our clock and the broker's, when it says until when.
_CLOCKS = 300.0
# After a renewal that failed; a broker may be away for an hour, and a pass is renewed with an hour left.
_AGAIN = 300.0
# For giving it back: somebody waits for our end.
_LAST_SECONDS = 3.0
_PASS_MIN, _PASS_MAX = 20 * 60, 7 * 86400


class Supply(Protocol):
    """One role's."""

    async def begin(self) -> None:
        """See that there are some. Raises Failure."""

    async def credentials(self) -> bytes:
        """The broker's body. Raises Failure."""

    async def end(self) -> None:
        """Nothing more is wanted."""


def supply(settings: Settings, *, scope: str | None, reason: str | None, job_pass: str | None) -> Supply:
    """By the ticket, or by a pass that is good for ``job_pass`` (``12h``). ``settings.role`` says which role.

    Raises:
        Failure: ``usage``.
    """
    ours = copy.copy(settings)
    ours.scope, ours.reason = scope, reason
    return ByTicket(ours) if job_pass is None else ByPass(ours, seconds=seconds_of(job_pass))


def seconds_of(text: str) -> int:
    """``12h``.

    Raises:
        Failure: ``usage``.
    """
    try:
        seconds = wire.seconds_of(text, "pass")
    except ValueError:
        seconds = 0
    if not _PASS_MIN <= seconds <= _PASS_MAX:
        raise Failure("usage", "--pass is 20m to 7d")
    return seconds


class ByTicket:
    """Of whoever is logged in when they are asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._source: Source | None = None

    async def begin(self) -> None:
        """Ask for the first."""
        await self.credentials()

    async def credentials(self) -> bytes:
        """Raises Failure."""
        if self._source is None:  # in the process that serves: the library keeps to the one that loaded it
            self._source = Source(
                self._settings, ask=obtained, takes_any_file=True, now=time.time, chance=random.random
            )
        wanted, cache = self._settings, os.environ.get("KRB5CCNAME")
        return await self._source.credentials(
            role=wanted.role or "", scope=wanted.scope, reason=wanted.reason, cache=cache
        )

    async def end(self) -> None:
        """There is nothing to give back."""


class ByPass:
    """Of whoever was logged in at the beginning, also when their ticket has ended; renewed, and given back at the end."""

    def __init__(self, settings: Settings, *, seconds: int) -> None:
        """``seconds`` is how long."""
        self._settings = settings
        self._seconds = seconds
        self._keeper = Keeper(now=time.time, chance=random.random)
        self._pass: AtRest | None = None
        self._id = ""
        self._timers: list[asyncio.TimerHandle] = []

    async def begin(self) -> None:
        """Make the pass with the ticket that there is now, and ask for the first credentials."""
        lifetime = min(self._seconds, PASS_LIFETIME)
        body = json.dumps({"role": self._settings.role, "lifetime": f"{lifetime}s"}).encode()
        made = _landed(await errand(self._asking(method="POST", path=wire.PASSES_PATH, body=body)))
        self._take(made)
        until = times.seconds(text_of(object_of(made), "renewable_until"))
        if until < time.time() + self._seconds - _CLOCKS:
            await self._returned()
            left = max(0, int(until - time.time())) // 60
            raise Failure("usage", f"your rule lets jobs go on for {left} minutes: --pass {left}m")
        loop = asyncio.get_running_loop()
        self._timers = [
            loop.call_later(lifetime / 2, self._renew, lifetime / 2),
            loop.call_later(self._seconds, self._over),
        ]
        try:
            await self.credentials()
        except Failure:
            await self.end()
            raise

    async def credentials(self) -> bytes:
        """Raises Failure; behind the pass's time ``no_ticket``."""
        if self._pass is None:
            raise Failure("no_ticket", "the time of the job pass is over")
        wanted = self._settings
        key = Wanted(principal=self._id, login=0, role=wanted.role or "", scope=wanted.scope, reason=wanted.reason)
        return await self._keeper.credentials(key, self._fetch)

    async def end(self) -> None:
        """Give the pass back; where the broker does not hear of it, it ends by itself."""
        for timer in self._timers:
            timer.cancel()
        if self._pass is not None:
            await self._returned()

    def _fetch(self) -> asyncio.Future[bytes | Failure]:
        return errand(self._showing("POST", wire.CREDENTIALS_PATH, body=question(self._settings)))

    def _renew(self, every: float) -> None:
        renewal = errand(self._showing("POST", f"{wire.PASSES_PATH}/current/renew"))
        renewal.add_done_callback(lambda done: self._renewed(done.result(), every))

    def _renewed(self, answer: bytes | Failure, every: float) -> None:
        if self._pass is None:
            return
        with contextlib.suppress(Failure):
            self._take(_landed(answer))
        again = min(every, _AGAIN) if isinstance(answer, Failure) else every
        self._timers[0] = asyncio.get_running_loop().call_later(again, self._renew, every)

    def _over(self) -> None:
        self._timers[0].cancel()
        self._returned()

    def _returned(self) -> asyncio.Future[bytes | Failure]:
        shown = self._showing("DELETE", f"{wire.PASSES_PATH}/current", seconds=_LAST_SECONDS)
        if self._pass is not None:
            self._pass.wipe()
        self._pass = None
        return errand(shown)

    def _take(self, body: bytes) -> None:
        members = object_of(body)
        text, identifier = text_of(members, "pass"), text_of(members, "id")
        if not (text and text.isascii() and text.isprintable() and identifier):
            raise Failure("unexpected_answer", "there is no pass in it")
        if self._pass is not None:
            self._pass.wipe()
        self._pass, self._id = AtRest(text.encode()), identifier

    def _asking(self, *, method: str, path: str, body: bytes) -> Callable[[Watch], bytes]:
        def asking(watch: Watch) -> bytes:
            watch.start(self._settings.timeout)
            return ask(self._settings, watch, method=method, path=path, body=body)

        return asking

    def _showing(
        self, method: str, path: str, *, body: bytes = b"", seconds: float | None = None
    ) -> Callable[[Watch], bytes]:
        # Opened here: it is sealed for this process, and the errand's is another.
        text = self._pass.open().decode() if self._pass is not None else ""

        def showing(watch: Watch) -> bytes:
            watch.start(seconds or self._settings.timeout)
            return ask_by_pass(self._settings, watch, method=method, path=path, job_pass=text, body=body)

        return showing


def _landed(answer: bytes | Failure) -> bytes:
    if isinstance(answer, Failure):
        raise answer
    return answer
