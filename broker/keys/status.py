"""Which key versions there are, how old each is, what is due, and who still needs what: for people and for JSON. No key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from broker.core.clock import rfc3339
from broker.keys.duties import Duties
from broker.keys.hierarchy import Kind
from broker.keys.keyring import KEK, OWN, Gone, Wrapped
from broker.keys.replica import Replica
from broker.keys.rotation import ROTATED

_MS = 1000
# The latest that were destroyed are told of.
_DESTROYED_SHOWN = 5


def status(replica: Replica, duties: Duties) -> dict[str, Any]:
    """``{"master", "keks", "kinds", "instances", "faults"}``; times are RFC 3339."""
    keks = {kek.id: kek for kek in replica.opened.ring.keks()}
    return {
        "master": {
            "id": replica.master.id,
            "due": _when(duties.master_due_at),
            "hosts_that_have_another": duties.hosts_behind(),
        },
        "keks": [
            {"id": kek.id, "made": _when(kek.made), "masters": sorted(_masters(replica, kek.id))}
            for kek in keks.values()
        ],
        "kinds": {kind.value: _kind(replica, duties, kind) for kind in Kind},
        "instances": [
            {"instance": replica.instance, "host": replica.host, "master": replica.master.id, "is_asked": True},
            *(
                {"instance": instance, "host": beat.host, "master": beat.master, "is_asked": False}
                for instance, beat in sorted(replica.fleet.beats.items())
            ),
        ],
        "faults": dict(sorted(replica.faults.items())),
    }


def _masters(replica: Replica, kek: str) -> set[str]:
    return {one.master for one in replica.opened.ring.keks() if one.id == kek}


def _kind(replica: Replica, duties: Duties, kind: Kind) -> dict[str, Any]:
    ring, now = replica.opened.ring, replica.now()
    buried = sorted(
        {(one.at, one.id) for one in ring if isinstance(one, Gone) and one.kind == kind and one.kind != KEK},
        reverse=True,
    )
    due = duties.due_at(kind) if kind in ROTATED else duties.master_due_at if kind is Kind.SIGNING else None
    sealing = replica.sealing(kind)
    return {
        "due": _when(due),
        "versions": [_version(replica, one, sealing=sealing, now=now) for one in ring.versions(kind)],
        "destroyed": [{"id": one, "at": _when(at)} for at, one in buried[:_DESTROYED_SHOWN]],
    }


def _version(replica: Replica, version: Wrapped, *, sealing: str | None, now: int) -> dict[str, Any]:
    is_coming = version.seals_from > now or version.id in replica.unripe
    return {
        "id": version.id,
        "state": "seals" if version.id == sealing else "coming" if is_coming else "opens",
        "made": _when(version.made),
        "age_seconds": (now - version.made) // _MS,
        "is_master_key": version.seals_from == OWN,
        "needed_by": _needed_by(replica, version.id),
    }


def _needed_by(replica: Replica, version: str) -> list[str]:
    """Stores of the instance that is asked, and other instances; those that have not said count."""
    stores = [name for name, needed in replica.store_needs.items() if needed is None or version in needed]
    others = [
        f"{beat.host} ({instance})"
        for instance, beat in replica.fleet.beats.items()
        if beat.needs is None or version in beat.needs
    ]
    return sorted(stores) + sorted(others)


def _when(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(datetime.fromtimestamp(ms / _MS, UTC))
