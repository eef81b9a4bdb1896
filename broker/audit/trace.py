"""The whole story behind an access key, a request or a name, oldest first, as the records tell it.

Of a key: who was given it, how often, for which request it was made, by which rule, and what was revoked since. Of a request: its
records, and the story of each key in them. Of a name: every record of that person, one after the other, however many there are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from broker.audit.chain import BrokenRecord, signed
from broker.audit.event import Kind
from broker.audit.search import Chain, Found, said, search, search_members, value
from broker.audit.succession import certified
from broker.core.access_key import ACCESS_KEY_ID
from broker.keys.signing import KeySet

EVERYBODY = "*"
# A session as CloudTrail names it, by ARN or by principalId: its name is what stands behind.
_SESSION = re.compile(r"(?:arn:[a-z-]+:sts::[0-9]{12}:assumed-role/[^/]+/|[A-Z]{4}[A-Z0-9]{12,124}:)(?P<name>.+)")
_HANDED_OUT = (Kind.ISSUED, Kind.FETCHED)
_OF_AN_ELEVATION = (
    Kind.ELEVATION_REQUESTED,
    Kind.ELEVATION_APPROVED,
    Kind.ELEVATION_DENIED,
    Kind.BREAK_GLASS,
    Kind.ALERT,
)
_OF_A_REVOCATION = (Kind.REVOKED, Kind.RESTORED, Kind.AWS_DENIED, Kind.AWS_DENY_FAILED, Kind.AWS_DENY_REMOVED)


class What(StrEnum):
    """What was asked for."""

    ACCESS_KEY = "access_key_id"
    NAME = "name"
    IDENTIFIER = "identifier"


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for. An identifier is a request's, or whatever else records call by an id (a job pass, an approval)."""

    what: What
    text: str

    @classmethod
    def parse(cls, text: str) -> Asked:
        """Tell an access key id, a name (principal, session name, source identity, a session's ARN) and an id apart."""
        text = text.strip()
        if session := _SESSION.fullmatch(text):
            return cls(What.NAME, session["name"])
        if ACCESS_KEY_ID.fullmatch(text):
            return cls(What.ACCESS_KEY, text)
        return cls(What.NAME if "@" in text else What.IDENTIFIER, text)


@dataclass(frozen=True, slots=True)
class Shown:
    """A record of a story, and what is wrong with its signature; None: nothing."""

    found: Found
    fault: str | None


def story(chains: Sequence[Chain], asked: Asked, *, jwks: Mapping[str, Any]) -> Iterator[Shown]:
    """The records that tell it, oldest first; none where there are none.

    Raises:
        OSError: A file cannot be read.
        UnusableKeySet: The JWKS (RFC 7517) cannot verify anything.
    """
    keys, believed = KeySet(jwks=jwks), False
    if asked.what is What.ACCESS_KEY:
        found: Iterable[Found] = _of_keys(chains, {asked.text})
    elif asked.what is What.NAME:
        found = _of_name(chains, asked.text)
    else:
        found = _of_identifier(chains, asked.text)
    for one in found:
        fault = _fault(one.line, keys)
        if fault and not believed:
            # The JWKS may be of an earlier day than the record: later keys are certified in the logs.
            keys, believed = _all_keys(chains, jwks), True
            fault = _fault(one.line, keys)
        yield Shown(one, fault)


def minted_by(record: Mapping[str, Any]) -> str | None:
    """The request that a record's credentials were made for; older brokers said it only of those made just then."""
    found = record.get("minted_by") or (record.get("request_id") if record.get("origin") == "sts" else None)
    return found if isinstance(found, str) else None


def _all_keys(chains: Sequence[Chain], jwks: Mapping[str, Any]) -> KeySet:
    found = [key for chain in chains for key in certified(chain, jwks=jwks)]
    return KeySet(jwks={"keys": [*jwks["keys"], *found]})


def _fault(line: bytes, keys: KeySet) -> str | None:
    try:
        signed(line, keys=keys)
    except BrokenRecord as error:
        return str(error)
    return None


def _of_name(chains: Sequence[Chain], name: str) -> Iterator[Found]:
    return search(chains, [said(member, name) for member in ("user", "session_name", "about")])


def _of_identifier(chains: Sequence[Chain], identifier: str) -> list[Found]:
    direct = list(search(chains, [value(identifier)]))
    held = {
        key
        for one in direct
        if one.says.get("request_id") == identifier and isinstance(key := one.says.get("access_key_id"), str)
    }
    return _in_order([*direct, *_of_keys(chains, held)]) if held else direct


def _of_keys(chains: Sequence[Chain], held: Collection[str]) -> list[Found]:
    direct = list(search(chains, [value(key) for key in held]))
    handed_out = [one for one in direct if one.says.get("access_key_id") in held]
    if not handed_out:
        return direct
    made_for = {by for one in handed_out if (by := minted_by(one.says)) is not None}
    requests = made_for | {str(one.says["request_id"]) for one in handed_out if one.says.get("request_id")}
    whom = {str(one.says["user"]) for one in handed_out if one.says.get("user")}
    boxes = {str(one.says["elevation"]) for one in handed_out if one.says.get("elevation")}
    elevated = list(search_members(chains, ("elevation",), boxes))
    about = list(search(chains, [said("about", one) for one in (*whom, EVERYBODY)]))
    beside = [
        one
        for one in search_members(chains, ("request_id",), requests)
        if _belongs(one.says, held=held, made_for=made_for)
    ]
    since = min(one.order for one in (*handed_out, *beside))
    later = [one for one in about if one.says.get("event") in _OF_A_REVOCATION and one.order > since]
    asked = [one for one in elevated if one.says.get("event") in _OF_AN_ELEVATION]
    return _in_order([*direct, *beside, *asked, *later])


def _belongs(record: Mapping[str, Any], *, held: Collection[str], made_for: Collection[str]) -> bool:
    """Whether a record of a request that had to do with a key is about that key: it may be about another, which it renewed."""
    if record.get("access_key_id") is not None:
        return record["access_key_id"] in held
    return record.get("request_id") in made_for or record.get("event") == Kind.ALERT


def _in_order(found: Iterable[Found]) -> list[Found]:
    # A line holds its place in its chain, so no two records have the same.
    return sorted({one.line: one for one in found}.values(), key=lambda one: one.order)


def is_handed_out(record: Mapping[str, Any]) -> bool:
    """Whether it says that a key was made or given to somebody."""
    return record.get("event") in _HANDED_OUT


def is_revocation(record: Mapping[str, Any]) -> bool:
    """Whether it takes something from somebody, or gives it back."""
    return record.get("event") in _OF_A_REVOCATION
