"""A vault that is logged in to: who asks here asks with a token that works, and is told within four seconds.

A token that was revoked or ended under us costs one login and one more try. Where the vault refuses although the token is alive,
it refuses: a policy that is wrong must not make a login of every request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from broker.core.clock import Clock
from broker.core.secret import Secret
from broker.remote.failure import DENIED, Refused, RemoteFailure
from broker.remote.hashicorp.login import Login
from broker.remote.hashicorp.tokens import Tokens
from broker.remote.hashicorp.wire import Json, Wire
from broker.remote.tries import LONGEST_TRY, bounded, tried

# Seconds that the vault may think about what must not happen twice: there is no second try to leave room for.
_THINK_SECONDS = 3.0
_PING_SECONDS = 1.5


class Vault:
    """One vault and one identity there."""

    def __init__(self, *, wire: Wire, login: Login, clock: Clock) -> None:
        self._wire = wire
        self._tokens = Tokens(wire=wire, login=login, clock=clock)

    async def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        is_repeatable: bool,
        accept: frozenset[int] = frozenset(),
    ) -> Json:
        """See ``Wire.ask``. ``is_repeatable``: asking twice does no more than asking once.

        Raises:
            RemoteFailure: Within four seconds.
        """
        seconds = LONGEST_TRY if is_repeatable else _THINK_SECONDS
        once = partial(self._wire.ask, method, path, body, seconds=seconds, accept=accept)
        async with bounded(url=self._wire.url):
            return await self._ask(once, is_repeatable=is_repeatable)

    async def keep_logged_in(self) -> None:
        """For as long as the broker runs."""
        await self._tokens.keep()

    async def ping(self) -> str | None:
        """None while it serves us, else what is wrong, within two seconds."""
        try:
            async with bounded(_PING_SECONDS, url=self._wire.url):
                await self._pinged()
        except RemoteFailure as failure:
            return str(failure)
        return None

    async def close(self) -> None:
        """Give the token back; what was leased with it ends."""
        await self._tokens.close()
        self._wire.close()

    async def _pinged(self) -> None:
        # A token that is held is believed; the health of the server says the rest, without a login.
        await self._wire.ask("GET", "sys/seal-status", token=None, seconds=_PING_SECONDS)
        await self._wire.ask("GET", "auth/token/lookup-self", token=await self._tokens.current(), seconds=_PING_SECONDS)

    async def _ask(self, once: Callable[..., Awaitable[Json]], *, is_repeatable: bool) -> Json:
        token = await self._tokens.current()
        try:
            return await tried(partial(once, token=token), twice=is_repeatable)
        except Refused as refusal:
            # What was refused has not happened: it may be asked again, whatever it is.
            if refusal.reason != DENIED or await self._knows(token):
                raise
        anew = await self._tokens.instead_of(token)
        return await tried(partial(once, token=anew), twice=is_repeatable)

    async def _knows(self, token: Secret) -> bool:
        try:
            await self._wire.ask("GET", "auth/token/lookup-self", token=token, seconds=LONGEST_TRY)
        except Refused:
            return False
        return True
