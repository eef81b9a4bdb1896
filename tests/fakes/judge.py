"""What must be true of two hosts whatever was broken meanwhile: who got what, by which token, and what is on record of it.

Each function names what it found, in whole sentences; nothing found is an empty list. The facts come from three sides that know
nothing of each other: what clients were answered, what AWS gave out, and what the brokers' signed records say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.broker import BrokerProcess
from tests.fakes.traffic import Attempt

REALM = "EXAMPLE.COM"
_SERVED = 200


@dataclass(frozen=True, slots=True)
class Revocation:
    """Nobody may be given anything of this user's by a request that begins behind these moments (monotonic)."""

    user: str
    deadline: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one run."""

    attempts: Sequence[Attempt]
    calls: Sequence[Mapping[str, Any]]
    records: Mapping[str, Sequence[Mapping[str, Any]]]
    revocations: Sequence[Revocation] = field(default=())


def wrongs(facts: Facts) -> list[str]:
    """Everything that must not be."""
    return [
        *tokens_used_twice(facts),
        *somebody_elses(facts),
        *revoked_and_served(facts),
        *without_a_record(facts),
    ]


def tokens_used_twice(facts: Facts) -> list[str]:
    """A token brings credentials once, whichever broker it is shown to; by the answers, and by the records."""
    answered = Counter(each.mark for each in facts.attempts if each.way == "ticket" and each.status == _SERVED)
    recorded = Counter(
        str(record["stated_reason"]) for record in _issued(facts) if " token " in str(record.get("stated_reason"))
    )
    return [
        f"{mark} was good for {count} answers with credentials, by the {source}"
        for source, counted in (("answers", answered), ("records", recorded))
        for mark, count in counted.items()
        if count > 1
    ]


def somebody_elses(facts: Facts) -> list[str]:
    """What a client holds was made at AWS for this client, and the record says so too."""
    made_for = {
        call["access_key_id_issued"]: call["source_identity"] for call in facts.calls if call["access_key_id_issued"]
    }
    found = []
    for each in _served(facts):
        owner = made_for.get(each.access_key_id)
        if owner != f"{each.user}@{REALM}":
            found.append(f"{each.user} was given {each.access_key_id} by {each.broker}, which AWS made for {owner}")
    return found


def revoked_and_served(facts: Facts) -> list[str]:
    """Behind a revocation's deadline at a broker nothing is handed out by it to whom it is about."""
    return [
        f"{each.user} was served by {each.broker} {each.began - revoked.deadline[each.broker]:.2f} s after the deadline"
        for revoked in facts.revocations
        for each in _served(facts)
        if each.user == revoked.user and each.broker in revoked.deadline and each.began > revoked.deadline[each.broker]
    ]


def without_a_record(facts: Facts) -> list[str]:
    """Every answer with credentials has its own record at the broker that gave it, with the key and the right name."""
    on_record = Counter(
        (broker, record["stated_reason"], record["access_key_id"], record["user"])
        for broker, records in facts.records.items()
        for record in records
        if record["event"] == "issued" and record.get("stated_reason")
    )
    answers = Counter((each.broker, each.mark, each.access_key_id, f"{each.user}@{REALM}") for each in _served(facts))
    return [
        f"{count - on_record[answer]} of {count} answers are on no record: {answer}"
        for answer, count in answers.items()
        if on_record[answer] < count
    ]


def unverified(brokers: Mapping[str, BrokerProcess]) -> list[str]:
    """What `audit verify` says of each broker's files, where it does not say that all is well."""
    found = []
    for name, broker in brokers.items():
        done = broker.admin("audit", "verify")
        if done.returncode != 0:
            found.append(f"{name}: {done.stdout}{done.stderr}")
    return found


def _served(facts: Facts) -> list[Attempt]:
    return [each for each in facts.attempts if each.status == _SERVED]


def _issued(facts: Facts) -> list[Mapping[str, Any]]:
    return [record for records in facts.records.values() for record in records if record["event"] == "issued"]
