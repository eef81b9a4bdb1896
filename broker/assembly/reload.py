"""Roles, rules and who may ask at all, taken over from a changed configuration while the broker serves.

    another process reads and judges the whole file -> its roles and rules come in, bit by bit -> one assignment -> record

What cannot be used leaves the old in force.

A request that was decided ends as it was decided. Everything else in the file needs a restart, and the log says so
(docs/adr/0052-what-a-reload-takes-over.md).
Only SIGHUP does this: an editor's half-saved file is no decision, a signal is (docs/adr/0016-policy-reload.md).
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import pickle
import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.assembly import policy_reader
from broker.assembly.changes import changes
from broker.assembly.policy_reader import LENGTH, Found, Refused
from broker.audit.event import Event, Kind
from broker.audit.log import AuditLog
from broker.authn.directory import Directories
from broker.authz.policies import Policies
from broker.authz.policy import Policy
from broker.config.restart import ADMISSION, differing
from broker.core import collector
from broker.core.errors import AuditUnavailable, ConfigurationError
from broker.core.happening import Happening

# By import, so that what comes back is of the same classes here and there.
_READ = f"from {policy_reader.__name__} import main; main()"
# A hundred thousand rules take some five seconds of one core; a file on a mount that hangs takes for ever.
_LONGEST_SECONDS = 120
# Of a file that is broken throughout, the beginning says enough.
_PROBLEMS_LOGGED = 50
# What is left of an old policy is given back in steps of so many entries, for half a millisecond each.
_FREED_AT_ONCE = 500
# Longer than any request takes to be decided about.
_STRAGGLERS_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from: its file, and the environment over it."""

    config: Path
    environ: Mapping[str, str]


class PolicyReload:
    """Takes over what is in the file now. ``is_well``: whether that is in force."""

    def __init__(
        self,
        *,
        source: Source,
        policies: Policies,
        fingerprint: str,
        digests: Mapping[str, str],
        directories: Directories,
        audit: AuditLog,
    ) -> None:
        """``fingerprint`` is that of the policy in force, ``digests`` those of all other keys."""
        self._source = source
        self._policies = policies
        self._fingerprint = fingerprint
        self._digests = dict(digests)
        self._directories = directories
        self._audit = audit
        self._old: asyncio.Queue[tuple[list[dict[Any, Any]], weakref.ref[Policy]]] = asyncio.Queue()
        self._waiting: list[str] = []
        self.is_well = True

    @property
    def restart_needed(self) -> int:
        """How many keys of the file have values that only a restart brings in force, as of the last reload."""
        return len(self._waiting)

    async def keep_giving_back(self) -> None:
        """Let go of old policies bit by bit, at once it would take a tenth of a second for a long one. Runs until cancelled."""
        while True:
            remains, alive = await self._old.get()
            if await _is_gone(alive):
                await _give_back(remains)

    async def take(self) -> None:
        """Once; whatever goes wrong leaves the old policy in force, and is recorded."""
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                await self._take()
        except ConfigurationError as error:
            await self._refuse(error.problems)
        except Exception as error:  # noqa: BLE001  # a reader that was killed, or is of a version installed since, says anything
            _log.debug("reload", exc_info=True)
            await self._refuse([f"{self._source.config}: reading it failed: {type(error).__name__}"])

    async def _take(self) -> None:
        reader = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-c",
            _READ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={},
        )
        try:
            found, policy = await self._read(reader)
            await reader.wait()
        finally:
            if reader.returncode is None:
                reader.kill()
                await reader.wait()
        await self._put_in_force(found, policy)

    async def _read(self, reader: asyncio.subprocess.Process) -> tuple[Found, Policy]:
        assert reader.stdin is not None and reader.stdout is not None  # noqa: S101, PT018  # both are pipes
        question = {"config": str(self._source.config), "environ": dict(self._source.environ)}
        reader.stdin.write(json.dumps(question).encode())
        reader.stdin.close()
        found = await _piece(reader.stdout)
        if isinstance(found, Refused):
            raise ConfigurationError(found.problems)
        assert isinstance(found, Found)  # noqa: S101  # see policy_reader.answer
        policy = Policy(roles=found.roles, secret_rules=found.secret_rules)
        # The collector would walk through all that has come in, again and again, with everybody waiting.
        with collector.paused():
            while rules := await _piece(reader.stdout):
                assert isinstance(rules, list)  # noqa: S101  # see policy_reader.answer
                policy.add(rules)
                await asyncio.sleep(0)
            # What is there now stays: nor is it to walk through it when this is over.
            gc.freeze()
        return found, policy

    async def _put_in_force(self, found: Found, policy: Policy) -> None:
        changed = differing(self._digests, found.digests)
        waiting = [key for key in changed if key not in ADMISSION]
        admission = [key for key in changed if key in ADMISSION]
        for key in waiting:
            _log.warning(
                "%s: %s differs, and needs a restart", self._source.config, key, extra=Happening.NEEDS_RESTART.said()
            )
        before, self._fingerprint = self._fingerprint, found.fingerprint
        was_well, self.is_well = self.is_well, True
        was_waiting, self._waiting = self._waiting, waiting
        if before == found.fingerprint and was_well and was_waiting == waiting and not admission:
            _log.info("%s: everything is what it was", self._source.config)
            return
        what = await changes(self._policies.current, policy)
        what |= {"admission_changed": admission} if admission else {}
        what |= {"needs_restart": waiting} if waiting else {}
        self._directories.want(found.groups)
        old, self._policies.current, self._policies.admission = self._policies.current, policy, found.admission
        kept = {key: digest for key, digest in self._digests.items() if key not in ADMISSION}
        self._digests = kept | {key: digest for key, digest in found.digests.items() if key in ADMISSION}
        counts = (len(policy.roles), len(policy), len(policy.secret_rules))
        _log.info(
            "%s: %d roles, %d rules and %d about secrets are in force",
            self._source.config,
            *counts,
            extra=Happening.CONFIG_RELOADED.said(),
        )
        await self._say(Kind.CONFIG_RELOADED, before=before, after=found.fingerprint, **what)
        self._old.put_nowait((old.remains(), weakref.ref(old)))

    async def _refuse(self, problems: list[str]) -> None:
        self.is_well = False
        for problem in problems[:_PROBLEMS_LOGGED]:
            _log.error("%s", problem)
        _log.error(
            "%s: %d problems, the old roles and rules stay in force",
            self._source.config,
            len(problems),
            extra=Happening.CONFIG_REFUSED.said(),
        )
        await self._say(Kind.CONFIG_REFUSED, before=self._fingerprint, after=None, problems=len(problems))

    async def _say(self, kind: Kind, *, before: str, after: str | None, **what: object) -> None:
        event = Event(
            action="reload",
            resource="config",
            kind=kind,
            success=after is not None,
            reason=None if after is not None else "unusable",
            details={"policy_before": before, "policy_after": after or before, **what},
        )
        try:
            await self._audit.record(event)
        except AuditUnavailable as error:
            _log.error("%s: the reload is not recorded: %s", self._source.config, error)


async def _piece(stream: asyncio.StreamReader) -> object:
    """What the reader said next. It is our own program, and the pipe is nobody else's."""
    (length,) = LENGTH.unpack(await stream.readexactly(LENGTH.size))
    return pickle.loads(await stream.readexactly(length))  # noqa: S301


async def _is_gone(alive: weakref.ref[Policy]) -> bool:
    """Whether nobody is decided about by it any more; who holds it for long keeps it whole."""
    for _ in range(int(_STRAGGLERS_SECONDS / _LOOK_EVERY_SECONDS)):
        if alive() is None:
            return True
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    return False


async def _give_back(remains: list[dict[Any, Any]]) -> None:
    for entries in remains:
        while entries:
            for _ in range(min(len(entries), _FREED_AT_ONCE)):
                entries.popitem()
            await asyncio.sleep(0)
