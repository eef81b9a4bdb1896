"""Denies at AWS: what the ledger wants is put at the roles, stays there for as long as a session can live, and is taken away.

The ledger says what is wanted, and outlives every instance; IAM says what is there; this brings the second to the first and asks
again until it is so. Putting and taking away twice is harmless, so instances need no lock: the one that an operator asked does it
at once, the others look later whether it was done, and whoever starts looks at all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.audit.event import Event
from broker.audit.event import Kind as Happened
from broker.audit.log import AuditLog
from broker.core.clock import Clock, rfc3339
from broker.core.errors import AuditUnavailable, RevocationsUnavailable
from broker.core.roles import RoleArn
from broker.issuing.denied import FOREIGN, NO_ROLE, Outcome, Phase, Target
from broker.revocation.deny import boundary, document, policy_name, stamp_of
from broker.revocation.epochs import Epochs
from broker.revocation.ledger import Entry, Kind, Subject
from broker.sts.iam import THREADS, IamFailed, RoleGone, RolePolicies

# A role's session, a look and a put; an operator waits a little longer than for one.
_EACH = timedelta(seconds=5)
_PATIENCE = timedelta(seconds=5.5)
_LOOK_EVERY = timedelta(seconds=1)
# Others see to it when the instance that was asked has had its time, and not all in the same moment.
_TAKE_OVER = timedelta(minutes=1)
_SPREAD_OUT = timedelta(seconds=30)
_PAUSE, _LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=5)
# Between AWS's clocks and ours, on top of a session's longest life.
_SKEW = timedelta(minutes=5)
# From here on /readyz says so.
_LATE = timedelta(seconds=30)
_OVERDUE = timedelta(minutes=5)
# A deny that outlived its sessions harms nobody: an account that is closed is not asked for ever.
_GIVEN_UP_AFTER = timedelta(days=7)
# How long others may be away and still hear that one was taken away.
_REMEMBERED = timedelta(days=1)

# What may be otherwise a moment later, while an operator still waits.
_PASSING = frozenset({"throttled", "timeout", "broken", "unreachable", "session_ended"})

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Job:
    """What one entry wants now, and how far that is. ``next_at`` is in boot time."""

    entry: Entry
    phase: Phase
    next_at: float
    tries: int = 0
    reason: str | None = None
    done: bool = False


class Denies:
    """Made once, used inside one event loop; ``keep_in_force`` runs beside requests."""

    def __init__(
        self,
        *,
        roles: RolePolicies | None,
        epochs: Epochs,
        audit: AuditLog,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        """Take the parts; ``roles`` is None without `aws.revocation`, ``chance`` is evenly distributed from 0 to 1."""
        self._roles = roles
        self._epochs = epochs
        self._audit = audit
        self._clock = clock
        self._chance = chance
        self._jobs: dict[Subject, _Job] = {}
        self._busy: set[Subject] = set()
        # What an operator asked this instance for, and what it found when it started.
        self._own: set[Entry] = set()
        self._woken, self._moved = asyncio.Event(), asyncio.Event()
        self._places = asyncio.Semaphore(THREADS)

    @property
    def is_configured(self) -> bool:
        """Whether AWS can be asked at all."""
        return self._roles is not None

    # ---- for operators ----

    async def look(self, user: str, wanted: Iterable[Target]) -> list[Outcome]:
        """What would come of ``deny``, as far as reading tells."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._looked(user, target.arn)) for target in wanted]
        return [task.result() for task in tasks]

    async def deny(self, user: str, wanted: Iterable[Target], *, by: str) -> list[Outcome]:
        """Have these roles deny all sessions of a person that were made so far; how far it came while an operator waits.

        Raises:
            RevocationsUnavailable: It is not durable.
        """
        now = self._clock.now()
        ends: dict[int, list[Subject]] = {}
        for target in wanted:
            until = int((now + target.longest + _SKEW).timestamp())
            ends.setdefault(until, []).append(Subject(Kind.AWS_DENY, user, target.arn.text))
        for until, subjects in ends.items():
            await self._epochs.enter(subjects, by=by, until=until)
        return await self._come_to(subject for subjects in ends.values() for subject in subjects)

    async def lift(self, user: str, *, by: str) -> list[Outcome]:
        """Take all denies of a person away. Raises like ``deny``."""
        subjects = self.subjects(user)
        if subjects:
            await self._epochs.enter(subjects, by=by, until=int(self._clock.now().timestamp()))
        return await self._come_to(subjects)

    def subjects(self, user: str) -> list[Subject]:
        """The denies of a person that are there, or should be."""
        return [entry.subject for entry in self._epochs.denies if entry.subject.user == user]

    def outcome(self, entry: Entry) -> Outcome:
        """How it stands with an entry, as far as this instance has seen."""
        job = self._jobs.get(entry.subject)
        if not entry.held:
            return Outcome(entry.subject.which, Phase.REMOVE, done=True)
        if job is None or job.entry != entry:
            return Outcome(entry.subject.which, self._phase(entry), done=False)
        return Outcome(entry.subject.which, job.phase, done=job.done, reason=job.reason)

    # ---- beside requests ----

    async def keep_in_force(self) -> None:
        """Runs until cancelled."""
        self._own.update(self._epochs.denies)
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                jobs = self._due()
                if self._roles is not None:
                    for job in jobs:
                        self._busy.add(job.entry.subject)
                        group.create_task(self._do(job, self._roles))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY.total_seconds()):
                        await self._woken.wait()
                self._moved.set()

    async def ping(self) -> str | None:
        """None, or what is not as it should be at AWS for longer than it takes."""
        if self._roles is None and self._epochs.denies:
            return f"denies at AWS that wait for aws.revocation: {self.number}"
        late = [job for job in self._jobs.values() if self._is_late(job)]
        said = [
            f"{words}: {len(jobs)} ({', '.join(sorted({job.reason or 'not tried yet' for job in jobs}))})"
            for phase, words in (
                (Phase.DENY, "AWS roles that do not deny yet"),
                (Phase.REMOVE, "denies at AWS overdue to go"),
            )
            if (jobs := [job for job in late if job.phase is phase])
        ]
        return "; ".join(said) or None

    @property
    def number(self) -> int:
        """The denies that are at AWS, or should be."""
        return len(self._epochs.denies)

    @property
    def late(self) -> int:
        """Those of which AWS does not know what it should."""
        return sum(map(self._is_late, self._jobs.values()))

    # ---- inside ----

    async def _come_to(self, subjects: Iterable[Subject]) -> list[Outcome]:
        mine = set(subjects)
        entered = [entry for entry in self._epochs.denies if entry.subject in mine]
        self._own.update(entered)
        for entry in entered:
            job = self._jobs.get(entry.subject)
            if job is not None and job.entry == entry:
                # Seen while the ledger was written, and taken for another's.
                job.next_at = self._clock.boottime()
        self._woken.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                while not all(map(self._is_settled, entered)):
                    self._moved.clear()
                    await self._moved.wait()
        return [self._as_it_stands(entry) for entry in entered]

    def _as_it_stands(self, entry: Entry) -> Outcome:
        is_gone = all(other.subject != entry.subject for other in self._epochs.denies)
        return Outcome(entry.subject.which, Phase.REMOVE, done=True) if is_gone else self.outcome(entry)

    def _is_settled(self, entry: Entry) -> bool:
        outcome = self._as_it_stands(entry)
        return outcome.done or (outcome.reason is not None and outcome.reason not in _PASSING)

    def _phase(self, entry: Entry) -> Phase:
        return Phase.DENY if self._clock.now().timestamp() < entry.until else Phase.REMOVE

    def _due(self) -> list[_Job]:
        now, jobs = self._clock.boottime(), {}
        for entry in self._epochs.denies:
            job, phase = self._jobs.get(entry.subject), self._phase(entry)
            if job is None or job.entry != entry or job.phase is not phase:
                job = _Job(entry=entry, phase=phase, next_at=now + self._delay(entry, phase))
            jobs[entry.subject] = job
        self._jobs = jobs
        self._own.intersection_update(job.entry for job in jobs.values())
        return [
            job for job in jobs.values() if not job.done and now >= job.next_at and job.entry.subject not in self._busy
        ]

    def _delay(self, entry: Entry, phase: Phase) -> float:
        if entry in self._own:
            return 0
        if phase is Phase.DENY:
            return _TAKE_OVER.total_seconds() * (1 + self._chance())
        return _SPREAD_OUT.total_seconds() * self._chance()

    async def _do(self, job: _Job, roles: RolePolicies) -> None:
        """One try."""
        try:
            async with self._places:
                await self._try(job, roles)
            await self._catch_up(job)
        finally:
            self._busy.discard(job.entry.subject)
            self._woken.set()
            self._moved.set()

    async def _catch_up(self, job: _Job) -> None:
        """Where another instance did something else there meanwhile, ours may have come later and undone it: look at once."""
        subject = job.entry.subject
        latest = next((entry for entry in self._epochs.entries if entry.subject == subject), job.entry)
        if latest == job.entry or (job.phase is Phase.REMOVE and not latest.held):
            return
        if not latest.held:
            try:
                latest = await self._epochs.reopen(latest, until=int(self._clock.now().timestamp()))
            except RevocationsUnavailable as error:
                _log.error("a deny at AWS that was lifted may lie there again: %s: %s", subject.which, error)
                return
        self._own.add(latest)
        known = self._jobs.get(subject)
        if known is not None and known.entry == latest:
            known.next_at, known.done = self._clock.boottime(), False

    async def _try(self, job: _Job, roles: RolePolicies) -> None:
        step = self._put if job.phase is Phase.DENY else self._remove
        try:
            async with asyncio.timeout(_EACH.total_seconds()):
                await step(job, roles)
        except IamFailed as error:
            await self._failed(job, error.reason, str(error))
        except TimeoutError:
            await self._failed(job, "timeout", "no answer in time")
        except RevocationsUnavailable as error:
            await self._failed(job, error.reason, str(error))

    async def _put(self, job: _Job, roles: RolePolicies) -> None:
        entry, arn = job.entry, RoleArn.parse(job.entry.subject.which)
        user, name = entry.subject.user, policy_name(entry.subject.user)
        asked_at = self._clock.now()
        found = await roles.look(arn, name)
        if found.document is not None:
            stamp = stamp_of(found.document, user)
            if stamp is None:
                raise IamFailed(f"{arn.text}: {name} is not ours", reason=FOREIGN)
            if stamp >= entry.stamp:
                # Put by another instance, or by this one before it was killed; or of a later one, which will be heard of.
                await self._settled(job)
                return
        # The time of issue is AWS's, so is the time it is held against; ours may be minutes behind it.
        before = boundary((found.moment or asked_at) - self._restored_since(entry, asked_at))
        try:
            await roles.put(arn, name, document(user, stamp=entry.stamp, before=before))
        except RoleGone:
            job.reason = NO_ROLE
        await self._settled(job, denied_before=before)

    def _restored_since(self, entry: Entry, now: datetime) -> timedelta:
        """How long somebody has had new sessions again: a deny that comes late does not mean those."""
        user, restored = entry.subject.user, now.timestamp()
        for other in self._epochs.entries:
            is_theirs = other.subject.kind is Kind.CREDENTIALS and other.subject.user == user
            if is_theirs and not other.held and other.stamp > entry.stamp:
                restored = min(restored, other.stamp / 1000)
        return timedelta(seconds=now.timestamp() - restored)

    async def _remove(self, job: _Job, roles: RolePolicies) -> None:
        entry, arn = job.entry, RoleArn.parse(job.entry.subject.which)
        name = policy_name(entry.subject.user)
        found = (await roles.look(arn, name)).document
        stamp = None if found is None else stamp_of(found, entry.subject.user)
        # What IAM does not show yet may be there: it tells of changes late. Somebody else's, and a later one of ours, stay.
        if found is None or (stamp is not None and stamp <= entry.stamp):
            await roles.delete(arn, name)
        await self._forget(job)
        await self._settled(job)

    async def _forget(self, job: _Job) -> None:
        await self._epochs.settle(job.entry, until=int((self._clock.now() + _REMEMBERED).timestamp()))

    async def _settled(self, job: _Job, *, denied_before: datetime | None = None) -> None:
        if denied_before is not None or job.entry in self._own or job.phase is Phase.REMOVE:
            kind = Happened.AWS_DENIED if job.phase is Phase.DENY else Happened.AWS_DENY_REMOVED
            details = {} if denied_before is None else {"denied_before": rfc3339(denied_before)}
            await self._record(job, kind, details, note=job.reason)
        job.reason, job.done = job.reason if job.reason == NO_ROLE else None, True

    async def _failed(self, job: _Job, reason: str, why: str) -> None:
        pause = min(_PAUSE * 2**job.tries, _LONGEST_PAUSE).total_seconds()
        job.tries, job.next_at = min(job.tries + 1, 16), self._clock.boottime() + pause * (1 + self._chance()) / 2
        if job.reason != reason:
            # Once for each reason: it is tried again for hours.
            job.reason = reason
            _log.warning("%s at AWS failed: %s: %s", job.phase, reason, why)
            await self._record(job, Happened.AWS_DENY_FAILED, {}, failure=reason)
        if job.phase is Phase.REMOVE and self._age(job) > _GIVEN_UP_AFTER.total_seconds():
            _log.error("a deny at AWS is given up and left where it is: %s", job.entry.subject.which)
            await self._record(job, Happened.AWS_DENY_FAILED, {}, failure="given_up")
            with contextlib.suppress(RevocationsUnavailable):
                await self._forget(job)

    async def _record(
        self, job: _Job, kind: Happened, details: dict[str, str], *, failure: str | None = None, note: str | None = None
    ) -> None:
        """Never raises: AWS was told, or was not, whatever becomes of the record."""
        entry = job.entry
        event = Event(
            action="deny_at_aws" if job.phase is Phase.DENY else "remove_aws_deny",
            resource=entry.subject.which,
            kind=kind,
            success=failure is None,
            reason=failure,
            account=RoleArn.parse(entry.subject.which).account,
            details={"about": entry.subject.user, "by": entry.by, "policy": policy_name(entry.subject.user)}
            | ({"note": note} if note else {})
            | details,
        )
        try:
            await self._audit.record(event)
        except AuditUnavailable as error:
            _log.error("%s of %s is not recorded: %s", kind, entry.subject.which, error)

    async def _looked(self, user: str, arn: RoleArn) -> Outcome:
        reason = None
        try:
            async with self._places, asyncio.timeout(_EACH.total_seconds()):
                if self._roles is not None:
                    found = (await self._roles.look(arn, policy_name(user))).document
                    reason = FOREIGN if found is not None and stamp_of(found, user) is None else None
        except IamFailed as error:
            reason = error.reason
        except TimeoutError:
            reason = "timeout"
        return Outcome(arn.text, Phase.DENY, done=False, reason=reason)

    def _is_late(self, job: _Job) -> bool:
        return not job.done and self._age(job) > (_LATE if job.phase is Phase.DENY else _OVERDUE).total_seconds()

    def _age(self, job: _Job) -> float:
        """Seconds since it should have been done."""
        since = job.entry.stamp / 1000 if job.phase is Phase.DENY else job.entry.until
        return self._clock.now().timestamp() - since
