r"""Which groups somebody is in, where the ticket does not say: asked of the realm's directory, by the names that rules use.

Rules name groups by SID or as ``REALM\name``. Tickets of Active Directory carry SIDs, those of other realms nothing. So names
become what the directory knows a group by, and a person becomes what they are in (``broker.authn.layout``).

A directory that does not answer, or answers ambiguously, makes groups unknown, which is neither a yes nor a no: whoever a rule
names in person goes on, everybody else is told that the directory is to blame (``broker.authz.policy.decide``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar, cast

from broker.authn import ldap
from broker.authn.layout import Layout
from broker.authn.ldap import Connection
from broker.authn.pac import within
from broker.core.clock import Clock
from broker.core.errors import DirectoryUnavailable
from broker.core.happening import Happening
from broker.core.identity import Identity
from broker.core.principal import Principal

# Whoever is taken out of a group may use it for so long. It only spares the directory a herd: one answer takes a millisecond.
KNOWN_FOR = timedelta(seconds=5)
_REMEMBERED_MAX = 10_000
# For everything that one person's groups need, connecting and waiting for one's turn included.
_DEADLINE = timedelta(seconds=2)
# A dead directory costs one request its deadline; for this long the others are answered at once.
_BREAKER = timedelta(seconds=1)

# Faults of one person's or group's entries; the directory itself is well.
_OF_ENTRIES = frozenset({"directory_ambiguous", "directory_limit"})

# What answers are remembered by, beside principals.
_NAMES, _BASE = "names", "base"

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Question = Callable[[Connection], Awaitable[_T]]


def qualified(realm: str, name: str) -> str:
    r"""A group as rules name it: ``AD.EXAMPLE.COM\\aws-dev``."""
    return f"{realm}\\{name}"


def names_in(realm: str, groups: Iterable[str]) -> frozenset[str]:
    """The bare names among the groups of rules that are of this realm."""
    beginning = qualified(realm, "")
    return frozenset(group.removeprefix(beginning) for group in groups if group.startswith(beginning))


class Directory:
    """One realm's directory: one connection, kept; answers remembered for a moment; one question at a time, each asked once."""

    def __init__(
        self,
        *,
        realm: str,
        layout: Layout,
        wanted: frozenset[str],
        connect: Callable[[], Awaitable[Connection]],
        clock: Clock,
        domain_sid: str | None = None,
        known_for: timedelta = KNOWN_FOR,
    ) -> None:
        """Nothing is opened before the first question.

        Args:
            realm: Of the people in it.
            layout: How it keeps them.
            wanted: The names of groups that rules use, without the realm.
            connect: Opens a connection.
            clock: For how long answers count.
            domain_sid: Of the realm's domain, where it has one.
            known_for: How long an answer counts.
        """
        self._realm = realm
        self._layout = layout
        self._wanted = wanted
        self._domain_sid = domain_sid
        self.is_needed = True
        self._connect = connect
        self._clock = clock
        self._known_for = known_for.total_seconds()
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._broken_until = 0.0
        self._failure = ""
        self._answers: dict[object, tuple[float, object]] = {}
        self._flights: dict[object, asyncio.Task[object]] = {}

    def want(self, groups: Collection[str]) -> None:
        """Other rules are in force, and these are the groups that they use, of whatever realm."""
        self._wanted = names_in(self._realm, groups)
        domain = self._domain_sid
        self.is_needed = bool(self._wanted) or (domain is not None and any(within(domain, group) for group in groups))

    async def groups(self, principal: Principal, of_ticket: frozenset[str]) -> frozenset[str]:
        """The groups that somebody is in: what the ticket said, else what the directory says; and by name.

        Raises:
            DirectoryUnavailable: Nobody can say.
        """
        layout, wanted = self._layout, self._wanted
        # Tickets carry SIDs and nothing else. Whatever else is there was asked for earlier, for a session: it is asked anew.
        sids = frozenset(group for group in of_ticket if group.startswith("S-1-"))
        known = sids or await self._answer(principal, lambda asked: layout.memberships(asked, principal))
        if not wanted or not known:
            return known
        named = await self._answer((_NAMES, wanted), lambda asked: layout.groups(asked, wanted))
        return known | {qualified(self._realm, name) for name, group in named.items() if group in known}

    async def ping(self) -> str | None:
        """None while it answers and shows us its base, or is not needed; else what is wrong."""
        if not self.is_needed:
            return None
        try:
            await self._answer(_BASE, self._base)
        except DirectoryUnavailable as error:
            return error.reason
        return None

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _base(self, connection: Connection) -> None:
        if not await connection.search(self._layout.base, ldap.BASE, ldap.ANYTHING, ldap.NO_ATTRIBUTES):
            raise DirectoryUnavailable("the base is hidden from us", reason="directory_base_unknown")

    async def _answer(self, key: object, question: _Question[_T]) -> _T:
        until, answer = self._answers.get(key, (0.0, None))
        if self._clock.boottime() < until:
            return cast("_T", answer)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(self._fetch(key, question))
            self._flights[key] = flight
            flight.add_done_callback(lambda landed: self._land(key, landed))
        # The flight belongs to nobody: who goes away takes no other's answer with them.
        return cast("_T", await asyncio.shield(flight))

    def _land(self, key: object, flight: asyncio.Task[object]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # looked at here, because everybody may have gone away meanwhile

    async def _fetch(self, key: object, question: _Question[object]) -> object:
        try:
            async with asyncio.timeout(_DEADLINE.total_seconds()), self._turn:
                answer = await self._ask(question)
        except TimeoutError as error:
            raise DirectoryUnavailable(reason="directory_timeout") from error
        self._answers.pop(key, None)
        if len(self._answers) >= _REMEMBERED_MAX:
            self._answers.pop(next(iter(self._answers)))  # the oldest: they stand in the order of their making
        self._answers[key] = (self._clock.boottime() + self._known_for, answer)
        return answer

    async def _ask(self, question: _Question[object]) -> object:
        if self._clock.boottime() < self._broken_until:
            raise DirectoryUnavailable(reason=self._failure)
        kept, self._connection = self._connection, None
        try:
            if kept is not None:
                try:
                    return await self._asked(kept, question)
                except DirectoryUnavailable as error:
                    # Servers close what was idle for long; that is found out only by asking.
                    if error.reason != "directory_unreachable":
                        raise
            return await self._asked(await self._connect(), question)
        except (DirectoryUnavailable, asyncio.CancelledError) as error:
            self._trip(error)
            raise

    async def _asked(self, connection: Connection, question: _Question[object]) -> object:
        try:
            answer = await question(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return answer

    def _trip(self, error: DirectoryUnavailable | asyncio.CancelledError) -> None:
        reason = error.reason if isinstance(error, DirectoryUnavailable) else "directory_timeout"
        if reason in _OF_ENTRIES:
            return
        _log.warning("the directory of %s: %s %s", self._realm, reason, error, extra=Happening.DIRECTORY_DOWN.said())
        self._answers.pop(_BASE, None)  # a probe must not say that all is well
        self._failure = reason
        self._broken_until = self._clock.boottime() + _BREAKER.total_seconds()


class Directories:
    """Every realm's directory, as far as there are any."""

    def __init__(self, directories: Mapping[str, Directory]) -> None:
        self._directories = directories

    async def complete(self, identity: Identity) -> Identity:
        """The same somebody with every group that a rule may mean; unknown ones are marked, and never raise here."""
        directory = self._directories.get(identity.principal.realm)
        if directory is None or not directory.is_needed:
            return identity
        if identity.delegated_at is not None:
            # A job pass goes on for days: what its ticket said is old, and here somebody knows better.
            identity = replace(identity, groups=frozenset())
        try:
            groups = await directory.groups(identity.principal, identity.groups)
        except DirectoryUnavailable as error:
            return replace(identity, groups_unknown=error.reason)
        return replace(identity, groups=groups, groups_unknown=None)

    def want(self, groups: Collection[str]) -> None:
        """Other rules are in force, and these are the groups that they use."""
        for directory in self._directories.values():
            directory.want(groups)

    def probes(self) -> dict[str, Callable[[], Awaitable[str | None]]]:
        """What tells how each of them is."""
        return {f"directory_of_{realm}": directory.ping for realm, directory in self._directories.items()}

    def close(self) -> None:
        """Let all connections go."""
        for directory in self._directories.values():
            directory.close()
