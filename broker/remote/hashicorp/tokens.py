"""The life of the broker's token: got by a login when first needed, renewed before it ends, got anew where renewing ends.

One login and one renewal at a time, whoever waits for them. A renewal that fails leaves the token in use until it ends.
"""

from __future__ import annotations

import asyncio

from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.remote.failure import Refused, RemoteFailure, Unreachable
from broker.remote.hashicorp.login import LOGIN_SECONDS, Granted, Login, granted
from broker.remote.hashicorp.wire import Wire
from broker.remote.tries import bounded

# Of a token's life, when it is renewed: early enough for a vault that is away for the rest of it to come back.
_RENEWED_AT = 0.6
# Of what the login gave: a renewal that gives less has come near the longest life of the token, and a login is due.
_ENOUGH = 0.5
# Seconds between two tries to renew, and the shortest time to sleep.
_PATIENCE = 1.0
# Seconds that a login takes at the most: the vault's time, and a KDC's before it.
_LOGIN_AT_MOST = 3.5
# Seconds between looks at a token that needs nothing yet, or never.
_LOOK = 60.0


class _Held:
    def __init__(self, given: Granted, *, at: float, full: float | None) -> None:
        self.token, self.is_renewable, self.full = given.token, given.is_renewable, full
        self.ends = None if given.lasts is None else at + given.lasts
        self.due = None if given.lasts is None else at + given.lasts * _RENEWED_AT

    def lasts(self, now: float) -> bool:
        return self.ends is None or now < self.ends


class Tokens:
    """The one token that is in use."""

    def __init__(self, *, wire: Wire, login: Login, clock: Clock) -> None:
        self._wire = wire
        self._login = login
        self._clock = clock
        self._held: _Held | None = None
        self._turn = asyncio.Lock()

    async def current(self) -> Secret:
        """A token that lasts, as far as the vault said.

        Raises:
            RemoteFailure: There is none, and no login.
        """
        held = self._held
        if held is not None and held.lasts(self._clock.boottime()) and self._turn.locked():
            # Somebody sees to it; until then it is as good as before.
            return held.token
        async with self._turn:
            now = self._clock.boottime()
            held = self._held
            if held is None or not held.lasts(now):
                held = await self._log_in(now)
            elif held.due is not None and now >= held.due:
                held = await self._prolonged(held, now)
            return held.token

    async def instead_of(self, dead: Secret) -> Secret:
        """Another one than this, which the vault does not know any more."""
        async with self._turn:
            if self._held is not None and self._held.token == dead:
                self._held = None
        return await self.current()

    async def keep(self) -> None:
        """Renew for as long as the broker runs, used or not: nobody can replace a given token that ended unused."""
        while True:
            try:
                await self.current()
            except RemoteFailure:
                # Whoever needs it hears so, and /readyz says it.
                await asyncio.sleep(_PATIENCE)
            else:
                await asyncio.sleep(self._rest())

    async def close(self) -> None:
        """Give the token back, and with it whatever was leased with it. A vault that does not answer lets it end by itself."""
        held, self._held = self._held, None
        if held is None or not self._login.is_own:
            return
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                await self._wire.ask("POST", "auth/token/revoke-self", token=held.token, seconds=LOGIN_SECONDS)
        except (RemoteFailure, TimeoutError):
            return

    def _rest(self) -> float:
        due = self._held.due if self._held else None
        left = _LOOK if due is None else due - self._clock.boottime()
        return min(max(left, _PATIENCE / 4), _LOOK)

    async def _log_in(self, now: float) -> _Held:
        # A KDC can be silent for longer than anybody waits; whoever comes next tries again.
        async with bounded(_LOGIN_AT_MOST, url=self._wire.url):
            given = await self._login.log_in(self._wire)
        self._held = _Held(given, at=now, full=given.lasts)
        return self._held

    async def _prolonged(self, held: _Held, now: float) -> _Held:
        try:
            renewed = await self._renewed(held, now)
            if renewed is None:
                return await self._log_in(now)
        except Unreachable:
            held.due = now + _PATIENCE
            return held
        self._held = renewed
        return renewed

    async def _renewed(self, held: _Held, now: float) -> _Held | None:
        """The same token with a new end; None where it takes a login."""
        if not held.is_renewable:
            return None
        try:
            answer = await self._wire.ask("POST", "auth/token/renew-self", {}, token=held.token, seconds=LOGIN_SECONDS)
        except Refused:
            return None
        given = granted(answer)
        if given.lasts is not None and held.full is not None and given.lasts < held.full * _ENOUGH:
            return None
        return _Held(given, at=now, full=held.full)
