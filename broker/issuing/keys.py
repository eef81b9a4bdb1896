"""What operators see of keys, and how they let others follow: each in a record, before anybody hears of it."""

from __future__ import annotations

from typing import Any

from broker.audit.event import Event, Kind
from broker.core.errors import BadRequest, KeysUnavailable
from broker.issuing.ask import Ask
from broker.issuing.operators import OperatorsDoor
from broker.keys.duties import Duties
from broker.keys.hierarchy import Kind as KeyKind
from broker.keys.master.port import MasterUnavailable, Rotatable
from broker.keys.replica import KeysFailed, Replica
from broker.keys.status import status

DUE = "due"
MASTER = "master"
_NOT_HERE = (
    "it is changed where it lies: run zerotrust-admin keys rotate master --new-key-file PATH, or see docs/keys.md"
)


class KeyDesk:
    """Behind the operators' door."""

    def __init__(self, *, operators: OperatorsDoor, replica: Replica, duties: Duties) -> None:
        self._operators = operators
        self._replica = replica
        self._duties = duties

    async def status(self, ask: Ask) -> dict[str, Any]:
        """Every version, its age, what is due, and what still needs it. Raises like ``OperatorsDoor.attempt``."""
        async with self._operators.attempt(ask, action="list_keys", resource="keys") as event:
            event.shown()
        return status(self._replica, self._duties)

    async def rotate(self, ask: Ask, what: str) -> dict[str, Any]:
        """Let another follow: ``data``, ``session``, ``master``; or do what is ``due``. Raises like ``OperatorsDoor.attempt``.

        Raises:
            BadRequest: This master key does not rotate by itself.
            KeysUnavailable: Not kept, or not by all: nothing is lost.
        """
        async with self._operators.attempt(ask, action="rotate_keys", resource=what) as event:
            try:
                done = await self._rotated(event, what)
            except (KeysFailed, MasterUnavailable) as error:
                hint = f"nothing is lost, and nothing seals with a new key yet: {error}"
                raise KeysUnavailable(str(error), reason="keys_not_rotated", hint=hint) from error
        return {"done": done, **status(self._replica, self._duties)}

    async def _rotated(self, event: Event, what: str) -> list[str]:
        if what == DUE:
            await self._replica.look()
            before = {entry.name for entry in self._replica.opened.ring}
            await self._duties.do()
            # Each thing done has a record of its own.
            event.shown()
            return sorted({entry.name for entry in self._replica.opened.ring} - before)
        if what == MASTER:
            if not isinstance(self._replica.master, Rotatable):
                raise BadRequest(reason="master_not_rotatable", hint=_NOT_HERE)
            await self._duties.rotate_master()
            version = self._replica.master.id
        else:
            version = await self._duties.rotate(KeyKind(what)) or ""
        event.details |= {"kind": what, "version": version, "why": "asked"}
        event.done(Kind.KEY_ROTATED)
        return [f"{what} {version}"]
