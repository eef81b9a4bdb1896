"""A session: somebody who was authenticated, sealed, so that the next request needs no ticket.

Nothing is stored. The client keeps the identity itself, encrypted with a key that changes daily and that all instances derive
from the same master key; nothing in it can be read or altered, and there is no algorithm in it to be confused about. It says
all that a ticket said beside the name, so every rule that asks for more than a name works as it does with a ticket.

A browser's session is a cookie, a program's a token bound to the program's key (RFC 9449). Neither opens in the place of the
other.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.authn import dpop, sealed
from broker.authn.dpop import ProofGuard
from broker.core.birth import Birth, Births
from broker.core.clock import Clock
from broker.core.errors import AuthFailed, BadRequest, Bearer
from broker.core.identity import Identity, SealedSession, UnverifiedProof
from broker.core.principal import Principal
from broker.core.secret import Secret
from broker.keys.hierarchy import DailyEnvelope

# Active Directory's default life of a service ticket (MaxServiceAge, 600 minutes), a working day. No session outlives its
# ticket, and 24 hours are the most for which its key is sure to be kept.
COOKIE_LIFETIME = timedelta(hours=10)
# As long as the credentials that it fetches; renewing it costs a program one ticket, and nobody's attention.
TOKEN_LIFETIME = timedelta(hours=1)

# Browsers drop a cookie whose name and value exceed 4,096 bytes together (RFC 6265bis section 5.6).
_COOKIE_MAX = 4_000

_SCHEME = "dpop"
_ID_CHARS = 32  # 128 bits


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
    """One that opened. ``thumbprint`` names the key that its holder must prove; None for a cookie.

    ``id`` is what it is called when it is ended; it opens nothing.
    """

    id: str
    identity: Identity
    unopened: Unopened
    thumbprint: str | None
    made: datetime
    ends: datetime


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
        self,
        *,
        envelope: DailyEnvelope,
        proofs: ProofGuard,
        epoch: Callable[[Principal], int],
        is_ended: Callable[[Principal, str], bool],
        clock: Clock,
        births: Births,
    ) -> None:
        """Take the parts.

        Args:
            envelope: Seals with a key of the day.
            proofs: Knows which proofs were used.
            epoch: Rises when somebody's sessions are ended: what was made before does not open.
            is_ended: Whether one of somebody's sessions was ended by itself, by its id.
            clock: The time.
            births: How old something is by the clock that nobody can set.
        """
        self._envelope = envelope
        self._births = births
        self._proofs = proofs
        self._epoch = epoch
        self._is_ended = is_ended
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

    def require_keys(self) -> None:
        """To be asked before anything is done for somebody who shows no session.

        Raises:
            KeysUnavailable: The keys are withheld.
        """
        self._envelope.now()

    def open(self, unopened: Unopened) -> Session:
        """Who somebody is; whether they hold its key too is asked by ``prove``.

        Raises:
            AuthFailed: Altered, expired, ended, of the other kind, or sealed with a key that is gone.
        """
        context = _context(unopened.kind)
        try:
            members = sealed.unseal(unopened.text, envelope=self._envelope.now(), context=context)
        except sealed.NotOurs as error:
            raise _refused(error.reason) from error
        identity = sealed.identity_of(members)
        made, ends = sealed.moment(members["made"]), sealed.moment(members["ends"])
        now = self._births.time_after(made, Birth.of(members))
        # A session from the future means that the clock was put back, so that its end would come too late.
        if now >= ends or now + sealed.CLOCK_SKEW < made:
            raise _refused("expired", of=identity)
        identifier = _id_of(unopened.text)
        if members["epoch"] < self._epoch(identity.principal) or self._is_ended(identity.principal, identifier):
            raise _refused("ended", of=identity)
        return Session(
            id=identifier,
            identity=identity,
            unopened=unopened,
            thumbprint=members["jkt"],
            made=made,
            ends=ends,
        )

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
        members = sealed.members_of(identity) | {
            "made": int(made.timestamp()),
            "ends": int(ends.timestamp()),
            **self._births.now().members,
            "epoch": self._epoch(identity.principal),
            # A cookie works on any connection, so what the ticket said about its own is not carried over.
            "channel_bound": identity.channel_bound and kind is not Kind.COOKIE,
            "jkt": thumbprint,
        }
        text = sealed.seal(members, envelope=self._envelope.now(), context=_context(kind))
        return SealedSession(id=_id_of(text), value=Secret(text), made=made, lifetime=ends - made)


def _id_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARS]


def _refused(what: str, *, of: Identity | None = None) -> AuthFailed:
    """``of``: whose it was, where the seal proves it; their name belongs into the record of what was tried with it."""
    error = AuthFailed(reason=f"session_{what}", hint=dpop.HINT)
    if of is not None:
        error.bearer = Bearer(of.principal, impersonated_by=of.impersonated_by)
    return error


def _context(kind: Kind) -> bytes:
    return b"session/v1/" + kind.value.encode()
