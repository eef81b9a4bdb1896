"""A job pass: what a job shows when its owner's ticket has ended (cron, Slurm).

Like a session it is the identity itself, sealed, and the decision is made anew at each use. Unlike a session it is good for one
role and from some networks only, can be renewed up to an end that was fixed when a ticket was shown, made narrower but never
wider, and cancelled: it counts while the register of passes knows it, and everything that it was made from.

Whoever has the text may use it within these limits; there is no key to prove. So it is bound to networks, and its text begins
with a word that scanners for leaked secrets can look for.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, cast

from broker.authn import sealed
from broker.authn.register import Register
from broker.core.birth import Birth, Births
from broker.core.clock import Clock
from broker.core.errors import AccessDenied, BadRequest, PassRefused
from broker.core.identity import LONGEST_DELEGATION, Identity
from broker.core.principal import Principal
from broker.core.secret import Secret
from broker.keys.hierarchy import DailyEnvelope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Where nobody says: a night. Whoever needs longer says so, or renews.
LIFETIME = timedelta(hours=8)
# AWS makes no credentials of less than 15 minutes, and SDKs ask again with less than that left.
SHORTEST_LIFETIME = timedelta(minutes=20)

_BEGINNING = "ztpass_"
_SCHEME = "bearer"
_CONTEXT = b"job-pass/v1"
# 128 random bits: nobody meets another's.
_ID_BYTES = 16
# Passes made from passes; each is looked up at each use.
_LINEAGE_MAX = 8


@dataclass(frozen=True, slots=True)
class JobPass:
    """One that opened, or is about to be sealed.

    ``identity.ticket_end`` is its own end. ``lineage`` are the ids of what it was made from, oldest first, and its own; ``made``
    is when this text was sealed, ``birth`` the same by the clock that nobody can set, ``lifetime`` how long each renewal lasts.
    """

    identity: Identity
    role: str
    networks: tuple[Network, ...]
    lineage: tuple[str, ...]
    made: datetime
    lifetime: timedelta
    renewable_until: datetime
    epoch: int
    birth: Birth | None

    @property
    def id(self) -> str:
        """What it is called in records and for cancelling; tells nothing and opens nothing."""
        return self.lineage[-1]


def shown(authorization: str | None) -> str | None:
    """The pass in an ``Authorization`` header: as it stands, as SDKs send it, or behind ``Bearer`` (RFC 6750)."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    text = token.strip() if scheme.lower() == _SCHEME else authorization
    return text if text.startswith(_BEGINNING) else None


def only(address: Address) -> Network:
    """The network of one host: /32 or /128."""
    return ip_network(address)


def delegated(identity: Identity, *, now: datetime) -> Identity:
    """Somebody who showed a ticket now, as their jobs will be known. A pass works on any connection, so it is bound to none."""
    longest = now + LONGEST_DELEGATION
    return replace(identity, ticket_end=longest, delegated_at=now, channel_bound=False, mutual_token=None)


class JobPasses:
    """Makes, seals and opens them."""

    def __init__(
        self,
        *,
        envelope: DailyEnvelope,
        register: Register,
        epoch: Callable[[Principal], int],
        clock: Clock,
        births: Births,
    ) -> None:
        """Take the parts.

        Args:
            envelope: Its keys open for ``LONGEST_DELEGATION``.
            register: Knows which passes are in force.
            epoch: Rises when somebody's sessions and passes are ended: what was made before does not count.
            clock: The time.
            births: How old something is by the clock that nobody can set.
        """
        self._envelope = envelope
        self._births = births
        self._register = register
        self._epoch = epoch
        self._clock = clock

    def made(
        self, identity: Identity, *, role: str, networks: tuple[Network, ...], lifetime: timedelta, until: datetime
    ) -> JobPass:
        """A new one for somebody ``delegated``, renewable until then. It counts once it is entered.

        Raises:
            BadRequest: A lifetime that no job could use.
        """
        if not SHORTEST_LIFETIME <= lifetime <= LONGEST_DELEGATION:
            raise BadRequest(reason="pass_lifetime", hint='"lifetime" must be from 20m to 7d')
        now = self._clock.now()
        return JobPass(
            identity=replace(identity, ticket_end=min(now + lifetime, until)),
            role=role,
            networks=networks,
            lineage=(secrets.token_hex(_ID_BYTES),),
            made=now,
            lifetime=lifetime,
            renewable_until=until,
            epoch=self._epoch(identity.principal),
            birth=self._births.now(),
        )

    def renewed(self, old: JobPass) -> JobPass:
        """The same pass with a later end, as far as it may go. The old text stays good for its own time."""
        now = self._clock.now()
        end = min(now + old.lifetime, old.renewable_until)
        return replace(old, identity=replace(old.identity, ticket_end=end), made=now, birth=self._births.now())

    def narrowed(self, old: JobPass, *, networks: tuple[Network, ...] | None, lifetime: timedelta | None) -> JobPass:
        """One that is good for less, and can be cancelled without the one it was made from.

        Raises:
            AccessDenied: For more, in any direction.
            BadRequest: Made from a pass that was made from a pass, too often.
        """
        now, end, until = self._clock.now(), old.identity.ticket_end, old.renewable_until
        if len(old.lineage) >= _LINEAGE_MAX:
            raise BadRequest(reason="pass_lineage", hint="make it from an earlier pass")
        if networks is not None and not all(_within(network, old.networks) for network in networks):
            raise AccessDenied(reason="pass_wider", hint="name networks inside those of the pass")
        if lifetime is not None:
            # Who shortens a pass means it: it is not to be renewed either.
            if now + lifetime > end:
                raise AccessDenied(reason="pass_wider", hint="name a lifetime that ends before the pass")
            end = until = now + lifetime
        return replace(
            old,
            identity=replace(old.identity, ticket_end=end),
            networks=old.networks if networks is None else networks,
            lineage=(*old.lineage, secrets.token_hex(_ID_BYTES)),
            made=now,
            birth=self._births.now(),
            renewable_until=until,
        )

    async def enter(self, job_pass: JobPass) -> None:
        """From here on it counts.

        Raises:
            PassesUnavailable: Nobody can write that down.
        """
        await self._register.enter(job_pass.id, job_pass.identity.principal, until=job_pass.renewable_until)

    async def cancel(self, identifier: str, principal: Principal) -> bool:
        """From here on it does not count, at any instance, nor what was made from it. False where somebody has no such pass.

        Raises:
            PassesUnavailable: Nobody can write that down.
        """
        return await self._register.strike(identifier, principal)

    async def in_force(self, lineages: Sequence[tuple[str, ...]], principal: Principal) -> list[bool]:
        """Of each pass, by the ids of what it was made from and its own, whether it was not cancelled.

        Raises:
            PassesUnavailable: Nobody can say.
        """
        known = await self._register.known([one for lineage in lineages for one in lineage], principal)
        return [known.issuperset(lineage) for lineage in lineages]

    def seal(self, job_pass: JobPass) -> Secret:
        """What its holder is given."""
        delegated_at = job_pass.identity.delegated_at or job_pass.made
        members = sealed.members_of(job_pass.identity) | {
            "delegated_at": int(delegated_at.timestamp()),
            "role": job_pass.role,
            "networks": [str(network) for network in job_pass.networks],
            "lineage": job_pass.lineage,
            "made": int(job_pass.made.timestamp()),
            **(job_pass.birth.members if job_pass.birth else {}),
            "lifetime": int(job_pass.lifetime.total_seconds()),
            "renewable_until": int(job_pass.renewable_until.timestamp()),
            "epoch": job_pass.epoch,
        }
        return Secret(_BEGINNING + sealed.seal(members, envelope=self._envelope.now(), context=_CONTEXT))

    def open(self, text: str) -> JobPass:
        """Whose it is and what it is for; whether it counts is asked by ``check``.

        Raises:
            PassRefused: Altered, something else, or sealed with a key that is gone.
        """
        encoded = text.removeprefix(_BEGINNING)
        try:
            return _pass_of(sealed.unseal(encoded, envelope=self._envelope.now(), context=_CONTEXT))
        except sealed.NotOurs as error:
            raise PassRefused(reason=f"pass_{error.reason}") from error

    async def check(self, job_pass: JobPass, address: Address | None) -> None:
        """Make sure that it counts now, for who asks from this address; None (a local socket) is in no network.

        Raises:
            PassRefused: It has ended, was cancelled, or is not for this address.
            PassesUnavailable: Nobody can say whether it was cancelled.
        """
        now, identity = self._births.time_after(job_pass.made, job_pass.birth), job_pass.identity
        # A pass from the future means that the clock was put back, so that its end would come too late.
        if now >= identity.ticket_end or now + sealed.CLOCK_SKEW < job_pass.made:
            raise PassRefused(reason="pass_expired")
        if job_pass.epoch < self._epoch(identity.principal):
            raise PassRefused(reason="pass_ended")
        if address is None or not any(address in network for network in job_pass.networks):
            raise PassRefused(reason="pass_other_network", hint="the job pass is for other networks than yours")
        if not await self._register.knows(job_pass.lineage, identity.principal):
            raise PassRefused(reason="pass_cancelled")


def _pass_of(members: Mapping[str, Any]) -> JobPass:
    return JobPass(
        identity=replace(sealed.identity_of(members), delegated_at=sealed.moment(members["delegated_at"])),
        role=members["role"],
        networks=tuple(map(ip_network, members["networks"])),
        lineage=tuple(members["lineage"]),
        made=sealed.moment(members["made"]),
        lifetime=timedelta(seconds=members["lifetime"]),
        renewable_until=sealed.moment(members["renewable_until"]),
        epoch=members["epoch"],
        birth=Birth.of(members),
    )


def _within(inner: Network, outer: tuple[Network, ...]) -> bool:
    same = [network for network in outer if network.version == inner.version]
    return any(cast("Any", inner).subnet_of(network) for network in same)
