"""A session: somebody who was authenticated, sealed, so that the next request needs no ticket.

Nothing is stored. The client keeps the identity itself, encrypted with a key that changes daily and that all instances derive
from the same master key; nothing in it can be read or altered, and there is no algorithm in it to be confused about. It says
all that a ticket said beside the name, so every rule that asks for more than a name works as it does with a ticket.

A browser's session is a cookie, a program's a token bound to the program's key (RFC 9449). Neither opens in the place of the
other.
"""

from __future__ import annotations

import base64
import binascii
import enum
import itertools
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from broker.authn import dpop
from broker.authn.dpop import ProofGuard
from broker.core.clock import Clock
from broker.core.errors import AuthFailed, BadRequest
from broker.core.identity import Identity, SealedSession, UnverifiedProof
from broker.core.principal import NameType, Principal
from broker.core.secret import Secret
from broker.keys.envelope import CannotOpen
from broker.keys.hierarchy import DailyEnvelope

# Active Directory's default life of a service ticket (MaxServiceAge, 600 minutes), a working day. No session outlives its
# ticket, and 24 hours are the most for which its key is sure to be kept.
COOKIE_LIFETIME = timedelta(hours=10)
# As long as the credentials that it fetches; renewing it costs a program one ticket, and nobody's attention.
TOKEN_LIFETIME = timedelta(hours=1)

# Characters. A name and as many groups as Windows lets anybody be in (1,015, KB 328889) take about 2,900, and as many as the PAC
# reader lets through (4,096) at most 20,000.
_TEXT_MAX = 32_768
# Browsers drop a cookie whose name and value exceed 4,096 bytes together (RFC 6265bis section 5.6).
_COOKIE_MAX = 4_000
# Two instances may differ by as much as Kerberos lets its own clocks differ (RFC 4120 section 3.2.3).
_CLOCK_SKEW = timedelta(minutes=5)

_SCHEME = "dpop"
_SID = re.compile(r"(S(?:-[0-9]+)+)-(0|[1-9][0-9]{0,9})")


class Kind(enum.StrEnum):
    """What a session is for; goes into the seal."""

    COOKIE = "cookie"
    DPOP = "dpop"


@dataclass(frozen=True, slots=True)
class Unopened:
    """A session as a request shows it."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Session:
    """One that opened. ``thumbprint`` names the key that its holder must prove; None for a cookie."""

    identity: Identity
    unopened: Unopened
    thumbprint: str | None


def shown(*, authorization: str | None, cookie: str | None) -> Unopened | None:
    """The session that a request shows; None where it comes with a ticket or with nothing.

    An ``Authorization`` header is what somebody chose to say, a cookie is sent by itself: so the header alone counts where
    there is one, and a cookie never makes good for it.
    """
    if authorization is None:
        return None if cookie is None else Unopened(Kind.COOKIE, cookie)
    scheme, _, token = authorization.partition(" ")
    return Unopened(Kind.DPOP, token.strip()) if scheme.lower() == _SCHEME else None


class Sessions:
    """Makes and opens them."""

    def __init__(
        self, *, envelope: DailyEnvelope, proofs: ProofGuard, epoch: Callable[[Principal], int], clock: Clock
    ) -> None:
        """Take the parts.

        Args:
            envelope: Seals with a key of the day.
            proofs: Knows which proofs were used.
            epoch: How often somebody's sessions were ended so far: what was made before does not open.
            clock: The time.
        """
        self._envelope = envelope
        self._proofs = proofs
        self._epoch = epoch
        self._clock = clock

    def for_browser(self, identity: Identity) -> SealedSession | None:
        """A cookie's value; None where somebody is in more groups than fit into a cookie."""
        session = self._sealed(identity, Kind.COOKIE, COOKIE_LIFETIME, None)
        return session if len(session.value.reveal()) <= _COOKIE_MAX else None

    async def made(self, identity: Identity, *, proof: UnverifiedProof | None) -> SealedSession:
        """A token for the holder of the key that the proof was made with; without a proof, a cookie's value.

        Raises:
            AuthFailed: The proof is none, or was used before.
            ReplayGuardUnavailable: Nobody can say.
            BadRequest: Somebody's groups do not fit into a cookie.
        """
        if proof is None:
            cookie = self.for_browser(identity)
            if cookie is None:
                hint = "you are in more groups than a cookie holds: send a DPoP proof"
                raise BadRequest(reason="cookie_too_large", hint=hint)
            return cookie
        verified = dpop.verified(proof, now=self._clock.now())
        await self._proofs.spend(verified)
        return self._sealed(identity, Kind.DPOP, TOKEN_LIFETIME, verified.thumbprint)

    def open(self, unopened: Unopened) -> Session:
        """Who somebody is; whether they hold its key too is asked by ``prove``.

        Raises:
            AuthFailed: Altered, expired, ended, of the other kind, or sealed with a key that is gone.
        """
        if len(unopened.text) > _TEXT_MAX:
            raise _refused("altered")
        try:
            text = unopened.text.encode("ascii")
            sealed = base64.b64decode(text, altchars=b"-_", validate=True)
            if base64.urlsafe_b64encode(sealed) != text:  # Base64 has spare bits: one session has one spelling.
                raise _refused("altered")
            plaintext = self._envelope.now().open(sealed, context=_context(unopened.kind))
        except (UnicodeEncodeError, binascii.Error) as error:
            raise _refused("altered") from error
        except CannotOpen as error:
            # In force before yesterday, or never ours.
            raise _refused("key_unknown" if error.reason == "unknown_key" else "altered") from error
        members = orjson.loads(zlib.decompress(plaintext))
        identity = _identity(members)
        now = self._clock.now()
        # A session from the future means that the clock was put back, so that its end would come too late.
        if now >= _moment(members["ends"]) or now + _CLOCK_SKEW < _moment(members["made"]):
            raise _refused("expired")
        if members["epoch"] < self._epoch(identity.principal):
            raise _refused("ended")
        return Session(identity=identity, unopened=unopened, thumbprint=members["jkt"])

    async def prove(self, session: Session, proof: UnverifiedProof | None) -> None:
        """Make sure that the sender holds the session's key, where it has one.

        Raises:
            AuthFailed: No proof, one of another key, for another request or token, or one that was used before.
            ReplayGuardUnavailable: Nobody can say.
        """
        if session.unopened.kind is Kind.COOKIE:
            return
        # None would stand for "any key will do": a token without one opens nothing.
        thumbprint = session.thumbprint or ""
        token = session.unopened.text
        verified = dpop.verified(proof, now=self._clock.now(), thumbprint=thumbprint, token=token)
        await self._proofs.spend(verified)

    def _sealed(self, identity: Identity, kind: Kind, longest: timedelta, thumbprint: str | None) -> SealedSession:
        made = self._clock.now()
        ends = min(made + longest, identity.ticket_end)
        members = _members(identity) | {
            "made": int(made.timestamp()),
            "ends": int(ends.timestamp()),
            "epoch": self._epoch(identity.principal),
            # A cookie works on any connection, so what the ticket said about its own is not carried over.
            "channel_bound": identity.channel_bound and kind is not Kind.COOKIE,
            "jkt": thumbprint,
        }
        plaintext = zlib.compress(orjson.dumps(members))
        sealed = self._envelope.now().seal(plaintext, context=_context(kind))
        text = base64.urlsafe_b64encode(sealed).decode("ascii")
        return SealedSession(value=Secret(text), lifetime=ends - made)


def _refused(what: str) -> AuthFailed:
    return AuthFailed(reason=f"session_{what}", hint=dpop.HINT)


def _context(kind: Kind) -> bytes:
    return b"session/v1/" + kind.value.encode()


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _members(identity: Identity) -> dict[str, Any]:
    """Times in whole seconds, rounded down: neither a ticket nor its age is ever stretched."""
    principal = identity.principal
    return {
        "components": principal.components,
        "realm": principal.realm,
        "type": int(principal.name_type),
        "ticket_end": int(identity.ticket_end.timestamp()),
        "authenticated_at": int(identity.authenticated_at.timestamp()),
        "indicators": sorted(identity.indicators),
        "groups": _packed(identity.groups),
    }


def _identity(members: dict[str, Any]) -> Identity:
    return Identity(
        principal=Principal(
            components=tuple(members["components"]), realm=members["realm"], name_type=NameType(members["type"])
        ),
        ticket_end=_moment(members["ticket_end"]),
        authenticated_at=_moment(members["authenticated_at"]),
        channel_bound=members["channel_bound"],
        indicators=frozenset(members["indicators"]),
        groups=frozenset(_unpacked(members["groups"])),
        mutual_token=None,
    )


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


def _unpacked(domains: dict[str, list[int]]) -> Iterable[str]:
    for domain, distances in domains.items():
        for number in itertools.accumulate(distances):
            yield f"{domain}-{number}"
