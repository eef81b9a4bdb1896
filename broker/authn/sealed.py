"""Somebody's identity as a client carries it: sealed, compressed, one spelling.

What says who somebody is after the ticket has gone (a session, a job pass) is the identity itself, encrypted with a key that
no client has. It says all that a ticket said beside the name, so rules that ask for more than a name work as with a ticket.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from broker.core.identity import Identity
from broker.core.principal import NameType, Principal
from broker.keys.envelope import CannotOpen, Envelope

# Characters. A name and as many groups as Windows lets anybody be in (1,015, KB 328889) take about 2,900, and as many as the PAC
# reader lets through (4,096) at most 20,000.
TEXT_MAX = 32_768
# Two instances may differ by as much as Kerberos lets its own clocks differ (RFC 4120 section 3.2.3).
CLOCK_SKEW = timedelta(minutes=5)

_SID = re.compile(r"(S(?:-[0-9]+)+)-(0|[1-9][0-9]{0,9})")


class NotOurs(Exception):
    """Nothing that we sealed for this. ``reason``: ``altered``; ``key_unknown``, where its key is gone or was never ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def seal(members: Mapping[str, Any], *, envelope: Envelope, context: bytes) -> str:
    """Base64url text, which opens with the same context only."""
    plaintext = zlib.compress(orjson.dumps(members))
    return base64.urlsafe_b64encode(envelope.seal(plaintext, context=context)).decode("ascii")


def unseal(text: str, *, envelope: Envelope, context: bytes) -> dict[str, Any]:
    """The members that ``seal`` was given.

    Raises:
        NotOurs: For every text that is not exactly such a one.
    """
    if len(text) > TEXT_MAX:
        raise NotOurs("altered")
    try:
        encoded = text.encode("ascii")
        sealed = base64.b64decode(encoded, altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(sealed) != encoded:  # Base64 has spare bits: what we sealed has one spelling.
            raise NotOurs("altered")
        plaintext = envelope.open(sealed, context=context)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise NotOurs("altered") from error
    except CannotOpen as error:
        raise NotOurs("key_unknown" if error.reason == "unknown_key" else "altered") from error
    members: dict[str, Any] = orjson.loads(zlib.decompress(plaintext))
    return members


def members_of(identity: Identity) -> dict[str, Any]:
    """Times in whole seconds, rounded down: neither a ticket nor its age is ever stretched."""
    principal = identity.principal
    return {
        "components": principal.components,
        "realm": principal.realm,
        "type": int(principal.name_type),
        "ticket_end": int(identity.ticket_end.timestamp()),
        "authenticated_at": int(identity.authenticated_at.timestamp()),
        "channel_bound": identity.channel_bound,
        "indicators": sorted(identity.indicators),
        "groups": _packed(identity.groups),
        "impersonated_by": identity.impersonated_by,
    }


def identity_of(members: Mapping[str, Any]) -> Identity:
    """The exact inverse, less groups by name and the proof of the broker itself."""
    # Job passes of before there was such a member live for a week.
    impersonators = members.get("impersonated_by")
    return Identity(
        principal=Principal(
            components=tuple(members["components"]), realm=members["realm"], name_type=NameType(members["type"])
        ),
        ticket_end=moment(members["ticket_end"]),
        authenticated_at=moment(members["authenticated_at"]),
        channel_bound=members["channel_bound"],
        indicators=frozenset(members["indicators"]),
        groups=frozenset(_unpacked(members["groups"])),
        mutual_token=None,
        impersonated_by=None if impersonators is None else tuple(impersonators),
    )


def moment(seconds: int) -> datetime:
    """Unix seconds as a time."""
    return datetime.fromtimestamp(seconds, UTC)


def _packed(groups: Iterable[str]) -> dict[str, list[int]]:
    """SIDs by domain, as the distances between their last numbers: so a thousand fit into a cookie.

    Groups by name stay out: they are a directory's word of this moment, and it is asked anew at each request.
    """
    domains: dict[str, list[int]] = {}
    for found in filter(None, map(_SID.fullmatch, groups)):
        domains.setdefault(found[1], []).append(int(found[2]))
    return {
        domain: [after - before for before, after in itertools.pairwise([0, *sorted(numbers)])]
        for domain, numbers in domains.items()
    }


def _unpacked(domains: Mapping[str, list[int]]) -> Iterable[str]:
    for domain, distances in domains.items():
        for number in itertools.accumulate(distances):
            yield f"{domain}-{number}"
