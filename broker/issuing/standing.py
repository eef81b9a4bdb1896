"""Where somebody stands, told to themselves alone: who they are to the broker, their roles, sessions, job passes and recent uses.

    known -> read what is noted of exactly this principal -> ask the ledger and the register what of it is still good -> record

And what they can end of it. Ending needs no note: what is ended is in the ledger of revocations, at every instance, whether the
roll had ever heard of it or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from broker.audit.event import Event, Kind
from broker.authn import session
from broker.authn.job_pass import JobPasses
from broker.authn.roll import Kind as Noting
from broker.authn.roll import Note, Roll
from broker.authn.session import Session, Sessions
from broker.authz.policies import Policies
from broker.core.clock import Clock
from broker.core.errors import PassesUnavailable
from broker.core.identity import Identity, SealedSession
from broker.core.roles import Role, RoleName
from broker.issuing.ask import Ask, Entrance
from broker.issuing.uses import Use, Uses
from broker.revocation.epochs import Epochs
from broker.revocation.ledger import Kind as Ending
from broker.revocation.ledger import Subject

_Thing = TypeVar("_Thing")

_KINDS = {session.Kind.COOKIE: "browser", session.Kind.DPOP: "program"}


@dataclass(frozen=True, slots=True)
class Listed(Generic[_Thing]):
    """What is known, the latest first. ``is_complete``: False where nobody could say what else there is."""

    items: Sequence[_Thing]
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """One of somebody's sessions that still opens. ``kind``: ``browser`` or ``program``; ``address``: where it was made."""

    id: str
    kind: str
    made: datetime
    ends: datetime
    address: str | None
    is_current: bool


@dataclass(frozen=True, slots=True)
class PassSeen:
    """One of somebody's job passes that is in force. ``address``: where it was made or renewed last."""

    id: str
    role: str
    networks: tuple[str, ...]
    made: datetime
    ends: datetime
    renewable_until: datetime
    address: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Who somebody is to the broker, what they may have, what each role needs beside a ticket."""

    identity: Identity
    roles: list[Role]
    needs: dict[RoleName, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Belongings:
    """What somebody has with the broker."""

    sessions: Listed[SessionSeen]
    passes: Listed[PassSeen]
    recents: Listed[Use]


class Desk:
    """What people ask about themselves. Everything here raises BrokerError: nobody, not available, or not recorded."""

    def __init__(
        self,
        *,
        entrance: Entrance,
        sessions: Sessions,
        passes: JobPasses,
        epochs: Epochs,
        policies: Policies,
        roll: Roll,
        uses: Uses,
        clock: Clock,
    ) -> None:
        self._entrance = entrance
        self._sessions = sessions
        self._passes = passes
        self._epochs = epochs
        self._policies = policies
        self._roll = roll
        self._uses = uses
        self._clock = clock

    # ---- seen ----

    async def standing(self, ask: Ask, *, action: str) -> Standing:
        """Who somebody is, and which roles are theirs."""
        async with self._entrance.attempt(ask, action=action, resource="self") as event:
            identity = await self._entrance.known(ask, event)
            event.shown()
        policy = self._policies.current
        roles = policy.roles_for(identity, ask.address)
        needs = {role.name: policy.needs(identity, ask.address, role.name) for role in roles}
        return Standing(identity=identity, roles=roles, needs=needs)

    async def belongings(self, identity: Identity, ask: Ask, *, made: SealedSession | None = None) -> Belongings:
        """All of it, of whoever is known within an attempt already; ``made`` is the session that they are given with it."""
        return Belongings(
            sessions=await self._sessions_of(identity, current=ask.opened, made=made),
            passes=await self._passes_of(identity),
            recents=Listed(*await self._uses.of(identity.principal)),
        )

    async def sessions(self, ask: Ask) -> Listed[SessionSeen]:
        """Their sessions that are live; the one they show is among them whatever is noted."""
        identity = await self._shown(ask, "list_sessions")
        return await self._sessions_of(identity, current=ask.opened)

    async def passes(self, ask: Ask) -> Listed[PassSeen]:
        """Their job passes that are in force."""
        return await self._passes_of(await self._shown(ask, "list_passes"))

    async def recents(self, ask: Ask) -> Listed[Use]:
        """The roles they had lately."""
        identity = await self._shown(ask, "list_recents")
        return Listed(*await self._uses.of(identity.principal))

    async def _shown(self, ask: Ask, action: str) -> Identity:
        async with self._entrance.attempt(ask, action=action, resource="self") as event:
            identity = await self._entrance.known(ask, event)
            event.shown()
        return identity

    async def _sessions_of(
        self, identity: Identity, *, current: Session | None, made: SealedSession | None = None
    ) -> Listed[SessionSeen]:
        noted = await self._roll.of(identity.principal, Noting.SESSION)
        shown = current.id if current else made.id if made else None
        found = [_session(note, shown) for note in noted.notes if self._is_live(identity, note)]
        if current is not None and all(each.id != shown for each in found):
            kind = _KINDS[current.unopened.kind]
            found.insert(0, SessionSeen(current.id, kind, current.made, current.ends, None, is_current=True))
        return Listed(found, noted.is_complete)

    def _is_live(self, identity: Identity, note: Note) -> bool:
        principal = identity.principal
        is_of_now: bool = note.members["epoch"] >= self._epochs.of(principal)
        return is_of_now and not self._epochs.is_ended(principal, note.id)

    async def _passes_of(self, identity: Identity) -> Listed[PassSeen]:
        noted = await self._roll.of(identity.principal, Noting.PASS)
        good = [note for note in noted.notes if note.members["epoch"] >= self._epochs.of(identity.principal)]
        lineages = [tuple(note.members["lineage"]) for note in good]
        try:
            known = await self._passes.in_force(lineages, identity.principal)
        except PassesUnavailable:
            return Listed((), is_complete=False)
        found = [_pass(note) for note, is_known in zip(good, known, strict=True) if is_known]
        return Listed(found, noted.is_complete)

    # ---- made and ended ----

    async def open_session(self, ask: Ask) -> SealedSession:
        """A session for the sender of a ticket; a session makes no session."""
        async with self._entrance.attempt(ask, action="open_session", resource="self") as event:
            identity = await self._entrance.by_ticket(ask, event)
            made = await self._sessions.made(identity, proof=ask.proof)
            kind = session.Kind.COOKIE if ask.proof is None else session.Kind.DPOP
            await self._note(identity, made, kind, ask)
            event.details["session_id"] = made.id
            event.shown()
        return made

    async def end_session(self, ask: Ask) -> None:
        """End the session that is shown, at every instance, for whoever has a copy of it.

        Raises:
            RevocationsUnavailable: It goes on.
        """
        async with self._entrance.attempt(ask, action="end_session", resource="current") as event:
            shown = await self._entrance.by_session(ask, event)
            await self._end(shown.identity, shown.id, shown.ends, event)

    async def end(self, ask: Ask, identifier: str) -> None:
        """End one of their sessions by its id, whether it is noted or not; nobody else's. Raises like the above.

        There is no "not found": what keeps the notes could hide a session by it from the one who wants it ended.
        """
        async with self._entrance.attempt(ask, action="end_session", resource=identifier) as event:
            identity = await self._entrance.known(ask, event)
            noted = await self._roll.of(identity.principal, Noting.SESSION)
            ends = next((note.until for note in noted.notes if note.id == identifier), None)
            # What is not noted is remembered as ended for as long as any session could live.
            longest = self._clock.now() + session.COOKIE_LIFETIME
            await self._end(identity, identifier, ends or longest, event)

    async def end_all(self, ask: Ask) -> None:
        """End every session and job pass of theirs, the one they show included, noted or not. Raises like the above."""
        async with self._entrance.attempt(ask, action="end_all_sessions", resource="self") as event:
            principal = str((await self._entrance.known(ask, event)).principal)
            await self._epochs.enter([Subject(Ending.USER, principal)], by=principal)
            event.done(Kind.ENDED)

    async def _end(self, identity: Identity, identifier: str, ends: datetime, event: Event) -> None:
        event.details["session_id"] = identifier
        await self._epochs.end_session(identity.principal, identifier, until=int(ends.timestamp()))
        event.done(Kind.ENDED)

    async def remembered(self, identity: Identity, ask: Ask) -> SealedSession | None:
        """A cookie for whoever is known by a ticket; None for a session, and where there is no room for one."""
        cookie = self._sessions.for_browser(identity) if ask.session is None else None
        if cookie is not None:
            await self._note(identity, cookie, session.Kind.COOKIE, ask)
        return cookie

    async def _note(self, identity: Identity, made: SealedSession, kind: session.Kind, ask: Ask) -> None:
        members = {"kind": _KINDS[kind], "address": ask.source_ip, "epoch": self._epochs.of(identity.principal)}
        await self._roll.note(identity.principal, Noting.SESSION, Note(made.id, made.made, made.ends, members))


def _session(note: Note, shown: str | None) -> SessionSeen:
    members = note.members
    return SessionSeen(
        id=note.id,
        kind=members["kind"],
        made=note.at,
        ends=note.until,
        address=members["address"],
        is_current=note.id == shown,
    )


def _pass(note: Note) -> PassSeen:
    members = note.members
    return PassSeen(
        id=note.id,
        role=members["role"],
        networks=tuple(members["networks"]),
        made=note.at,
        ends=note.until,
        renewable_until=datetime.fromtimestamp(members["renewable_until"], note.at.tzinfo),
        address=members["address"],
    )
