"""Whose turn it is to sign along one chain: one key at a time, and each names the next with its own signature.

An auditor who keeps the first public key verifies the whole log with it. A key that was succeeded signs nothing more, so
whoever finds an old key file cannot go on with it where the log went on without. No clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from broker.audit.chain import BrokenRecord, Head, position_of, signed
from broker.audit.event import Event, Kind
from broker.audit.reading import blocks, last_line
from broker.keys.signing import KeySet, UnusableKeySet

SUCCESSOR = "successor"
# Both kinds of record are about this.
_RESOURCE = "audit_key"
# As the canonical form has it.
_CERTIFICATE = f'"event":"{Kind.KEY_SUCCEEDED}"'.encode()


def succeeded(successor: Mapping[str, str], *, timestamp: datetime) -> Event:
    """What the old key signs: the JWK of the new one."""
    event = Event(action="rotate_key", resource=_RESOURCE, timestamp=timestamp, details={SUCCESSOR: dict(successor)})
    event.done(Kind.KEY_SUCCEEDED)
    return event


def changed_uncertified(before: str, *, timestamp: datetime) -> Event:
    """What the new key signs where the old one, by its ``kid``, is not there to name it."""
    event = Event(action="rotate_key", resource=_RESOURCE, timestamp=timestamp, details={"key_before": before})
    event.done(Kind.KEY_CHANGED)
    return event


def heir_of(record: Mapping[str, Any]) -> str | None:
    """The ``kid`` of the key that signs the next record, taken at the record's word."""
    successor = record.get(SUCCESSOR) if record.get("event") == Kind.KEY_SUCCEEDED else None
    kid = successor.get("kid") if isinstance(successor, Mapping) else record.get("kid")
    return kid if isinstance(kid, str) else None


def heir_at(head: Head, paths: Iterable[Path]) -> str | None:
    """The same of the record at a chain's head, which is the last one of one of the files; None where it is not.

    Raises:
        OSError: A file cannot be read.
    """
    for path in paths:
        line = last_line(path)
        with suppress(BrokenRecord):
            if line and position_of(line).head == head:
                return heir_of(orjson.loads(line))
    return None


def ends_forged(path: Path, *, jwks: Mapping[str, Any]) -> bool:
    """Whether a file ends in what one of these keys should have signed, and did not.

    Of a key that is not among them nobody can say that; a log that goes on behind it says that its key changed uncertified.

    Raises:
        OSError: The file cannot be read.
    """
    line = last_line(path)
    if not line:
        return False
    try:
        kid = orjson.loads(line).get("kid")
        signed(line, keys=KeySet(jwks=jwks))
    except BrokenRecord:
        return kid is None or any(kid == jwk["kid"] for jwk in jwks["keys"])
    except (orjson.JSONDecodeError, AttributeError):
        return True
    return False


def certified(paths: Iterable[Path], *, jwks: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The keys that the records of one instance certify, beginning with those that are believed, in their order.

    This is for reading ahead: whether each of these records stands in its place, and was its key's turn, shows when it is
    reached.

    Raises:
        UnusableKeySet: The JWKS cannot verify anything.
        OSError: A file cannot be read.
    """
    found: list[Mapping[str, Any]] = []
    keys = KeySet(jwks=jwks)
    for path in paths:
        for line in (line for block in blocks(path) if _CERTIFICATE in block for line in block.split(b"\n")):
            if _CERTIFICATE not in line:
                continue
            with suppress(BrokenRecord, UnusableKeySet):
                successor = signed(line, keys=keys).get(SUCCESSOR)
                if isinstance(successor, Mapping):
                    # Alone, so that a key that is believed already does not hide that this one is none.
                    KeySet(jwks={"keys": [successor]})
                    found.append(successor)
                    keys = KeySet(jwks={"keys": [*jwks["keys"], *found]})
    return found


class Succession:
    """Along one chain, from its first record on. ``remarks`` are for who reads the report."""

    def __init__(self, *, jwks: Mapping[str, Any]) -> None:
        """Begin with the keys that are believed without a certificate."""
        self._believed = {jwk.get("kid") for jwk in jwks["keys"] if isinstance(jwk, Mapping)}
        self._in_charge: str | None = None
        self._retired: set[str] = set()
        self.remarks: list[str] = []

    def follow(self, record: Mapping[str, Any]) -> None:
        """Take the next record, whose signature is good.

        Raises:
            BrokenRecord: It was another key's turn.
        """
        kid = str(record.get("kid"))
        if self._in_charge is None and kid not in self._believed:
            raise BrokenRecord(f"signed by the key {kid}, which nothing here certifies")
        if self._in_charge not in (None, kid):
            self._change(record, before=str(self._in_charge), to=kid)
        self._in_charge = heir_of(record)
        if self._in_charge != kid:
            self._retired.add(kid)
            # An operator may go back to a former key, if the key in between says so.
            self._retired.discard(str(self._in_charge))

    def _change(self, record: Mapping[str, Any], *, before: str, to: str) -> None:
        if record.get("event") != Kind.KEY_CHANGED or to not in self._believed:
            raise BrokenRecord(
                f"signed by the key {to}, but it was the turn of {before}, which did not name it its successor"
            )
        if to in self._retired:
            raise BrokenRecord(f"signed by the key {to}, which was succeeded before")
        self._retired.add(before)
        self.remarks.append(
            f"at sequence number {record.get('seq')} the key {to} follows {before} without a certificate: it is believed "
            "because the JWKS holds it; ask why the old key was not there"
        )
