"""The broker's side of witnesses: each new checkpoint is shown to them, with the proof that it goes on from the last they signed.

Beside requests, never on their way: a witness that is slow, gone or wrong costs nobody an answer. What a witness refuses may mean
that the log was written anew, so it is an alarm; that it cannot be reached is none, but does not stay unsaid for long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp

from broker.audit.alert import Severity, alert
from broker.audit.checkpoint import Checkpoint, read_checkpoint
from broker.audit.cosignature import WitnessKey
from broker.audit.event import Event
from broker.audit.leaves import Leaves
from broker.audit.note import BadNote, open_note, split_note
from broker.audit.tree import Frontier, consistency_proof
from broker.audit.witness import request_of
from broker.core.clock import Clock
from broker.core.errors import AuditUnavailable
from broker.core.workers import Workers

# A witness makes one write to its disk; it may be on another continent.
_PATIENCE = timedelta(seconds=10)
# Between two tries where the last one failed, doubled each time up to the second.
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=5)
# After this long without a cosignature for what there is, /readyz says so: longer than a witness takes to be updated.
_TOO_LONG = timedelta(minutes=10)
_ANSWER_MAX_BYTES = 16 * 1024
_OK, _CONFLICT = 200, 409
# What the specification has a witness say no with; other statuses are of whatever stands in between.
_REFUSALS = frozenset({400, 403, 404, 409, 422})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """Where a witness is, and what it signs with."""

    url: str
    key: WitnessKey


class NotCosigned(Exception):
    """There is no cosignature. ``is_alarming`` where the witness said no, or what it said is wrong."""

    def __init__(self, why: str, *, is_alarming: bool) -> None:
        super().__init__(why)
        self.is_alarming = is_alarming


@dataclass(slots=True)
class _Standing:
    """How things are with one witness. ``tree`` is what it signed last, as far as we know."""

    address: WitnessAddress
    tree: Frontier | None = None
    signed_at: datetime | None = None
    failing_since: datetime | None = None
    fault: str | None = None
    is_alarmed: bool = False

    @property
    def name(self) -> str:
        return self.address.key.name


class Witnesses:
    """Of one instance. ``offer`` each checkpoint; ``keep_submitting`` does the rest."""

    def __init__(
        self,
        addresses: Sequence[WitnessAddress],
        *,
        directory: Path,
        keep: Callable[[str], Awaitable[None]],
        record: Callable[[Event], Awaitable[None]],
        clock: Clock,
    ) -> None:
        """Take the witnesses.

        Args:
            addresses: Where they are.
            directory: The audit directory: proofs are made from the records themselves.
            keep: Puts a cosigned note beside the records.
            record: Records an alarm.
            clock: The time.
        """
        self._standings = [_Standing(address) for address in addresses]
        self._keep = keep
        self._record = record
        self._clock = clock
        self._leaves = Leaves(directory)
        self._worker = Workers(name="witnesses", number=1)
        self._offered: str | None = None
        self._is_new = asyncio.Event()

    def offer(self, note: str) -> None:
        """Take a new checkpoint; it takes the place of one that was not shown yet."""
        self._offered = note
        self._is_new.set()

    @property
    def last_cosigned(self) -> float:
        """When the witness that is furthest behind signed last, in Unix seconds; 0 where one never did."""
        moments = [each.signed_at for each in self._standings]
        return min((moment.timestamp() if moment else 0.0 for moment in moments), default=0.0)

    async def ping(self) -> str | None:
        """None while all sign, else which one does not and why."""
        now = self._clock.now()
        for each in self._standings:
            late = each.failing_since is not None and now - each.failing_since > _TOO_LONG
            if each.fault is not None and (each.is_alarmed or late):
                return f"{each.name}: {each.fault}"
        return None

    async def keep_submitting(self) -> None:
        """Runs until cancelled."""
        pause = _FIRST_PAUSE
        timeout = aiohttp.ClientTimeout(total=_PATIENCE.total_seconds())
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                await self._is_new.wait()
                self._is_new.clear()
                if await self._show_all(session):
                    pause = _FIRST_PAUSE
                    continue
                # What is newer by then is shown instead.
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause.total_seconds()):
                        await self._is_new.wait()
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._is_new.set()

    async def _show_all(self, session: aiohttp.ClientSession) -> bool:
        note = self._offered
        assert note is not None  # noqa: S101  # it was offered
        lines = await asyncio.gather(*(self._show(session, each, note) for each in self._standings))
        if any(lines):
            await self._keep(note + "".join(lines))
        return all(lines)

    async def _show(self, session: aiohttp.ClientSession, standing: _Standing, note: str) -> str:
        """The cosignature line, or an empty text, and what follows from there being none."""
        now = self._clock.now()
        try:
            line = await self._cosigned(session, standing, note)
        except NotCosigned as error:
            standing.failing_since = standing.failing_since or now
            was, standing.fault = standing.fault, str(error)
            if was != standing.fault:
                _log.warning("audit: witness %s: %s", standing.name, error)
            if error.is_alarming and not (standing.is_alarmed and was == standing.fault):
                standing.is_alarmed = await self._alarm(standing)
            return ""
        standing.signed_at, standing.failing_since, standing.fault, standing.is_alarmed = now, None, None, False
        return line

    async def _alarm(self, standing: _Standing) -> bool:
        why = (
            f"The witness {standing.name} does not sign for this log: {standing.fault}.",
            "Either the log is not the one that the witness saw, or the witness is not the one that is configured.",
            "Take its latest note to `zerotrust-admin audit verify --checkpoint FILE`.",
        )
        try:
            await self._record(alert("witness_refused", severity=Severity.HIGH, why=why, cause="audit"))
        except AuditUnavailable as error:
            _log.error("audit: that a witness refused is not recorded: %s", error)
            return False
        return True

    async def _cosigned(self, session: aiohttp.ClientSession, standing: _Standing, note: str) -> str:
        new = read_checkpoint(note)
        status, answer = await self._ask(session, standing, note, new)
        if status == _CONFLICT:
            standing.tree = await self._tree_of_size(answer, new, instance=new.instance)
            status, answer = await self._ask(session, standing, note, new)
        if status != _OK:
            said = "".join(char for char in answer[:200] if char.isprintable())
            raise NotCosigned(f"it says {status} {said}".rstrip(), is_alarming=status in _REFUSALS)
        line = _line_of(answer, note, standing.address.key)
        standing.tree = new.tree
        return line

    async def _ask(
        self, session: aiohttp.ClientSession, standing: _Standing, note: str, new: Checkpoint
    ) -> tuple[int, str]:
        old = standing.tree or Frontier()
        proof: list[bytes] = []
        if 0 < old.size < new.size:
            proof = await self._worker.do(lambda: self._proof(old, new))
        body = request_of(old=old.size, proof=proof, note=note)
        url = standing.address.url.rstrip("/") + "/add-checkpoint"
        try:
            async with session.post(url, data=body, allow_redirects=False) as response:
                answer = await response.content.read(_ANSWER_MAX_BYTES)
                return response.status, answer.decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotCosigned(
                f"cannot be reached: {type(error).__name__} {error}".rstrip(), is_alarming=False
            ) from error

    async def _tree_of_size(self, answer: str, new: Checkpoint, *, instance: str) -> Frontier:
        """The tree that the witness says it saw, as our own checkpoints have it."""
        text = answer.removesuffix("\n")
        if not text.isascii() or not text.isdecimal() or len(text) > len(str(2**63)):
            raise NotCosigned("it says 409 without a size", is_alarming=True)
        size = int(text)
        if size > new.size:
            raise NotCosigned(
                f"it saw {size} records of this log, which has {new.size}: the log was set back", is_alarming=True
            )
        tree = await self._worker.do(lambda: self._leaves.tree_of(instance, size))
        if tree is None:
            raise NotCosigned(f"it saw {size} records, and no checkpoint of ours states that", is_alarming=True)
        return tree

    def _proof(self, old: Frontier, new: Checkpoint) -> list[bytes]:
        try:
            return consistency_proof(old, self._leaves.between(new.instance, old.size, new.size), size=new.size)
        except (OSError, ValueError) as error:
            raise NotCosigned(f"no proof for it: {error}", is_alarming=False) from error


def _line_of(answer: str, note: str, key: WitnessKey) -> str:
    """The witness's own line of its answer; what else it sends is passed over."""
    try:
        open_note(note + answer, verifiers=[key])
        _, signatures = split_note(note + answer)
    except BadNote as error:
        raise NotCosigned(f"its cosignature is wrong: {error}", is_alarming=True) from error
    return next(str(each) for each in signatures if (each.name, each.key_id) == (key.name, key.key_id))
