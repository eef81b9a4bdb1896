"""How often STS is asked: at most so many calls in any second, shared fairly among those for whom it is asked.

STS's quota is the account's (600 a second and region; IAM User Guide, "IAM and AWS STS quotas"), and whoever exceeds it is
throttled together with everybody else in the account. So calls wait here: a chain that has begun goes first, and new ones take
turns by principal, so that nobody who asks for a hundred roles delays somebody who asks for one. What would wait for longer
than is of use is refused at once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from datetime import timedelta

from aiolimiter import AsyncLimiter

from broker.core.errors import Overloaded
from broker.core.rate import Rate

# A chain that begins later than this has too little left of the five seconds in which its client is promised an answer.
_PATIENCE = timedelta(seconds=2)
# With a small rate a handful may wait all the same.
_FEWEST_PLACES = 8

_Turn = asyncio.Future[None]


class Budget:
    """Made once, used inside one event loop."""

    def __init__(self, *, rate: Rate) -> None:
        # In no second may there be more than the rate: what the bucket holds and what flows in meanwhile come to just that.
        # It holds a tenth, so that a loop that is late now and then can catch up.
        held = max(1, rate.number // 10)
        flowing = max(1, rate.number - held) / rate.seconds
        self._limiter = AsyncLimiter(held, held / flowing)
        self._places = max(_FEWEST_PLACES, int(flowing * _PATIENCE.total_seconds()))
        self._begun: deque[_Turn] = deque()
        self._lines: OrderedDict[Hashable, deque[_Turn]] = OrderedDict()
        self._number = 0
        self._serving: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Who waits for a turn."""
        return self._number + len(self._begun)

    @property
    def places(self) -> int:
        """So many chains may wait for their first one."""
        return self._places

    async def begin(self, owner: Hashable) -> None:
        """Wait for the turn of a chain's first call, on behalf of ``owner``.

        Raises:
            Overloaded: It would come too late, or did not come in time.
        """
        turn = self._line_up(owner)
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                await self._served(turn)
        except TimeoutError as error:
            raise Overloaded("waited for a turn to ask STS", reason="sts_budget") from error
        finally:
            self._leave(owner, turn)

    async def go_on(self) -> None:
        """Wait for the turn of a further call of a chain that has begun."""
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._begun.append(turn)
        await self._served(turn)

    def close(self) -> None:
        """Serve nobody any more."""
        if self._serving is not None:
            self._serving.cancel()

    async def _served(self, turn: _Turn) -> None:
        if self._serving is None or self._serving.done():
            self._serving = asyncio.ensure_future(self._serve())
        await turn

    async def _serve(self) -> None:
        """Runs for as long as somebody waits."""
        while self._begun or self._lines:
            await self._limiter.acquire()
            turn = self._next()
            while turn is not None and turn.done():  # whoever waited has gone
                turn = self._next()
            if turn is not None:
                turn.set_result(None)

    def _next(self) -> _Turn | None:
        if self._begun:
            return self._begun.popleft()
        if not self._lines:
            return None
        owner, line = self._lines.popitem(last=False)
        turn = line.popleft()
        self._number -= 1
        if line:
            self._lines[owner] = line  # behind all others
        return turn

    def _line_up(self, owner: Hashable) -> _Turn:
        if self._number >= self._places:
            self._make_room(owner)
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._lines.setdefault(owner, deque()).append(turn)
        self._number += 1
        return turn

    def _make_room(self, owner: Hashable) -> None:
        """Whoever waits most often gives a place up; that may be the newcomer."""
        longest = max(self._lines, key=lambda one: len(self._lines[one]))
        if len(self._lines[longest]) <= len(self._lines.get(owner, ())) + 1:
            raise Overloaded("too many wait for a turn to ask STS", reason="sts_budget")
        last = self._lines[longest][-1]
        self._leave(longest, last)
        if not last.done():
            last.set_exception(Overloaded("gave its place to somebody who waits less often", reason="sts_budget"))

    def _leave(self, owner: Hashable, turn: _Turn) -> None:
        line = self._lines.get(owner)
        if line is None or turn not in line:
            return
        line.remove(turn)
        self._number -= 1
        if not line:
            del self._lines[owner]
