"""Broken glass, from the alarm to the review that somebody else closes.

    alarm on record -> on the disk -> in force -> its end -> sealed packet -> closed by another operator

What is broken is kept under ``state.directory``, so that a restart neither forgets a box that is open nor a review that is due;
each host reviews what was broken there, at whichever of its instances: they look into the folder they share.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import orjson

from broker.audit.alert import Severity, alert
from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.audit.packet import sealed_packet
from broker.authz.elevation import PATIENCE, REQUEST, Request, Rows, State, standing
from broker.core.birth import Births
from broker.core.clock import Clock, rfc3339
from broker.core.elevation import person
from broker.core.errors import AccessDenied, ApprovalsUnavailable, AuditUnavailable, BadRequest, NotFound
from broker.core.happening import Happening
from broker.core.stable_file import replace_file
from broker.core.workers import Workers
from broker.issuing.ask import Ask
from broker.issuing.revoke import Operators
from broker.keys.envelope import CannotOpen, armoured, unarmoured
from broker.keys.signing import Ed25519Signer
from broker.revocation.epochs import Epochs

_FOLDER = "reviews"
_FOLDER_MODE = 0o700
_BROKEN, _PACKET, _CLOSED = ".broken", ".json", ".closed.json"
# An operator waits for a disk this long.
_DISK = timedelta(seconds=2)
# Reading a long log takes its time, and nobody waits for it.
_PACKING = timedelta(minutes=5)
_LOOK_EVERY = timedelta(seconds=2)
_BYTES_MAX = 65_536
# By one person, within ``PATIENCE``: each is told to somebody at once, and nobody is to be worn out.
_BROKEN_MAX = 10
_NOT_NOW = {
    "running": "its box is open still, or its packet is being made: zerotrust-admin revoke-credentials --user ends it, or wait",
    "closed": "it is closed already",
}

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(slots=True)
class Review:
    """Of one box. ``state``: running, waiting (for somebody to close it), closed."""

    request: Request
    is_packed: bool
    closed: dict[str, Any] | None

    @property
    def state(self) -> str:
        """Where it stands."""
        return "closed" if self.closed else "waiting" if self.is_packed else "running"

    def members(self, folder: Path) -> dict[str, Any]:
        """For JSON."""
        request = self.request
        return {
            "id": request.id,
            "state": self.state,
            **_of(request),
            "packet": str(folder / f"{request.id}{_PACKET}") if self.is_packed else None,
            "closed": self.closed,
        }


class Reviews:
    """What was broken on this host, and is to be looked at."""

    def __init__(
        self,
        *,
        directory: Path,
        records: Path,
        rows: Rows,
        signer: Ed25519Signer,
        audit: AuditLog,
        epochs: Epochs,
        clock: Clock,
        births: Births,
    ) -> None:
        """Take up what is on the disk; ``records`` is the folder of the log."""
        self._folder = directory / _FOLDER
        self._records = records
        self._rows = rows
        self._signer = signer
        self._audit = audit
        self._epochs = epochs
        self._clock = clock
        self._births = births
        self._worker = Workers(name="reviews", number=1)
        self._known: dict[str, Review] = {}
        self._unreadable: set[str] = set()
        self._take_up(self._found())

    # ---- asked at each use ----

    def broken_by(self, user: str) -> list[Request]:
        """What somebody broke here."""
        return [review.request for review in self._known.values() if review.request.user == user]

    def broken(self, identifier: str) -> Request | None:
        """One of them."""
        review = self._known.get(identifier)
        return None if review is None else review.request

    @property
    def unclosed(self) -> int:
        """How many nobody has closed."""
        return sum(review.closed is None for review in self._known.values())

    # ---- broken and looked at ----

    async def begin(self, request: Request, ask: Ask) -> None:
        """Raise the alarm, and only then let the box count here.

        Raises:
            BadRequest: They have done so too often.
            AuditUnavailable: The alarm is not on record.
            ApprovalsUnavailable: The box is not on the disk, where a review would find it.
        """
        recent = [each for each in self.broken_by(request.user) if each.asked > request.asked - PATIENCE]
        if len(recent) >= _BROKEN_MAX:
            hint = f"you broke glass {_BROKEN_MAX} times within the hour: ask an operator"
            raise BadRequest(reason="too_many_broken", hint=hint)
        why = (
            f"{request.user} broke the glass for {request.role}, alone, until {rfc3339(request.asked + request.duration)}.",
            f"Their reason: {request.reason}",
            "When the box has ended, an operator who is somebody else has to close its review.",
        )
        shout = alert(
            "break_glass",
            severity=Severity.HIGH,
            why=why,
            about=ask.identity.principal if ask.identity else None,
            role=request.role,
            source_ip=ask.source_ip,
            request_id=ask.request_id,
            cause="elevation",
        )
        shout.details |= {"elevation": request.id, "stated_reason": request.reason, "about": request.user}
        await self._audit.record(shout)
        _log.warning(
            "elevation: %s broke the glass for %s (%s)",
            request.user,
            request.role,
            request.id,
            extra=Happening.GLASS_BROKEN.said(request_id=ask.request_id),
        )
        row = armoured(self._rows.seal_request(request))
        await self._on_disk(lambda: self._write(f"{request.id}{_BROKEN}", row))
        self._known[request.id] = Review(request, is_packed=False, closed=None)

    async def listing(self, operators: Operators, ask: Ask) -> list[dict[str, Any]]:
        """All that are known, those that wait first. Raises like ``Operators.attempt``."""
        async with operators.attempt(ask, action="list_reviews", resource="reviews") as event:
            await self._look()
            event.shown()
        order = ("waiting", "running", "closed")
        found = sorted(self._known.values(), key=lambda one: (order.index(one.state), -one.request.asked.timestamp()))
        return [review.members(self._folder) for review in found]

    async def close(self, operators: Operators, ask: Ask, identifier: str, *, note: str) -> dict[str, Any]:
        """Say that one was looked at; by an operator who did not break it. Raises like ``listing``.

        Raises:
            NotFound: None of this id waits on this host.
            AccessDenied: It is their own.
        """
        async with operators.attempt(ask, action="close_review", resource=identifier) as event:
            await self._look()
            review = self._known.get(identifier)
            if review is None:
                raise NotFound(
                    reason="review_unknown", hint="no glass of this id was broken at this host: ask the others"
                )
            _note(event, review.request)
            event.details["note"] = note
            by = event.principal
            if by is None or person(by) == review.request.person:
                raise AccessDenied(reason="own_review", hint="another operator has to close it")
            if review.state != "waiting":
                raise BadRequest(reason=f"review_{review.state}", hint=_NOT_NOW[review.state])
            event.done(Kind.REVIEW_CLOSED)
        closed = {"by": str(by), "at": rfc3339(self._clock.now()), "note": note}
        content = orjson.dumps(closed, option=orjson.OPT_INDENT_2) + b"\n"
        await self._on_disk(lambda: self._write(f"{identifier}{_CLOSED}", content))
        review.closed = closed
        return review.members(self._folder)

    async def keep_packing(self) -> None:
        """Runs until cancelled: seals a packet for each box that has ended."""
        while True:
            await asyncio.sleep(_LOOK_EVERY.total_seconds())
            await self._look()
            for review in list(self._known.values()):
                if not review.is_packed and self._is_over(review.request):
                    with contextlib.suppress(AuditUnavailable, ApprovalsUnavailable):  # tried again, and logged there
                        await self._pack(review)

    @property
    def name(self) -> str:
        """What holds sealed things here is called."""
        return "reviews"

    async def reseal(self) -> frozenset[str]:
        """See ``broker.keys.sealed``: rows of broken glass on the disk of this host."""
        return await self._on_disk(self._renew)

    def _renew(self) -> frozenset[str]:
        needed = set()
        for path in self._folder.glob(f"*{_BROKEN}") if self._folder.is_dir() else ():
            blob = unarmoured(path.read_bytes()[:_BYTES_MAX])
            renewed = self._rows.renewed(path.name.removesuffix(_BROKEN), REQUEST, blob)
            if renewed is not None:
                needed.add(renewed[1])
                if renewed[0] != blob:
                    self._write(path.name, armoured(renewed[0]))
        return frozenset(needed)

    def stop(self) -> None:
        """Let the disk go."""
        self._worker.stop()

    # ---- inside ----

    def _is_over(self, request: Request) -> bool:
        epoch, is_ended = self._epochs.of_credentials, self._epochs.is_ended
        now = self._births.time_after(request.asked, request.birth)
        found = standing(request, (), now=now, epoch=epoch, is_ended=is_ended)
        return found.state is not State.OPEN

    async def _pack(self, review: Review) -> None:
        request, now = review.request, rfc3339(self._clock.now())
        # The event first: it belongs to what the packet says, and to what its checkpoint covers.
        event = Event(action="seal_review", resource=request.id, role=request.role)
        _note(event, request)
        event.done(Kind.REVIEW_SEALED)
        await self._audit.record(event)
        await self._audit.checkpoint()

        def seal() -> None:
            members = {"id": request.id, **_of(request)}
            packet = sealed_packet(
                members, directory=self._records, since=request.asked, made_at=now, signer=self._signer
            )
            self._write(f"{request.id}{_PACKET}", packet)

        await self._on_disk(seal, patience=_PACKING)
        review.is_packed = True

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        replace_file(self._folder / name, content)

    async def _look(self) -> None:
        """What other instances of this host broke, packed and closed. Where the disk does not say, what is known holds."""
        with contextlib.suppress(ApprovalsUnavailable):  # logged there
            self._take_up(await self._on_disk(lambda: list(self._found())))

    def _take_up(self, found: Iterable[Review]) -> None:
        for review in found:
            known = self._known.setdefault(review.request.id, review)
            known.is_packed, known.closed = known.is_packed or review.is_packed, known.closed or review.closed

    def _found(self) -> Iterator[Review]:
        for path in sorted(self._folder.glob(f"*{_BROKEN}")) if self._folder.is_dir() else ():
            identifier = path.name.removesuffix(_BROKEN)
            known = self._known.get(identifier)
            if identifier in self._unreadable or (known is not None and known.closed):
                continue
            try:
                request = known.request if known else self._request(identifier, path)
            except (CannotOpen, OSError) as error:
                self._unreadable.add(identifier)
                _log.error("elevation: %s cannot be read, so nobody is asked to review it: %s", path, error)
                continue
            is_packed = (self._folder / f"{identifier}{_PACKET}").exists()
            yield Review(request, is_packed=is_packed, closed=self._closed(identifier))

    def _request(self, identifier: str, path: Path) -> Request:
        return self._rows.request(identifier, unarmoured(path.read_bytes()[:_BYTES_MAX]))

    def _closed(self, identifier: str) -> dict[str, Any] | None:
        """By whom and when; None where nobody has, or where that cannot be read: then it is to be looked at once more."""
        path = self._folder / f"{identifier}{_CLOSED}"
        try:
            found = orjson.loads(path.read_bytes()[:_BYTES_MAX])
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.error("elevation: %s cannot be read, so that review waits again: %s", path, error)
            return None
        return found if isinstance(found, dict) and found.keys() >= {"by", "at", "note"} else None

    async def _on_disk(self, job: Callable[[], _T], *, patience: timedelta = _DISK) -> _T:
        try:
            async with asyncio.timeout(patience.total_seconds()):
                return await self._worker.do(job)
        except (OSError, TimeoutError) as error:
            _log.error("elevation: %s cannot be written: %s", self._folder, str(error) or "it does not answer")
            raise ApprovalsUnavailable(str(error), reason="state_not_written") from error


def _of(request: Request) -> dict[str, Any]:
    return {
        "user": request.user,
        "role": request.role,
        "scope": request.scope,
        "rule": request.rule,
        "reason": request.reason,
        "opened": rfc3339(request.asked),
        "ends": rfc3339(request.asked + request.duration),
    }


def _note(event: Event, request: Request) -> None:
    event.role = request.role
    event.details |= {"elevation": request.id, "about": request.user, "stated_reason": request.reason}
