"""Job passes handed out, renewed, narrowed and cancelled, each with its record.

    ticket -> may a job have this role, and until when? -> enter -> record -> the pass

A pass is made by a ticket only: what a session or a pass could make would outlive it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from broker.audit.event import Event, Kind
from broker.authn import job_pass
from broker.authn.job_pass import JobPass, JobPasses, Network
from broker.authn.roll import Kind as Noting
from broker.authn.roll import Note, Roll
from broker.authz.policies import Policies
from broker.authz.policy import decide, delegable_until
from broker.core.clock import Clock, rfc3339
from broker.core.errors import BadRequest, NotFound
from broker.core.rule import Address
from broker.core.secret import Secret
from broker.issuing.ask import Ask, Entrance, printable, role_named
from broker.revocation.holds import Holds


@dataclass(frozen=True, slots=True)
class Made:
    """A pass, and the text of it that its holder is given."""

    text: Secret
    job_pass: JobPass


class PassOffice:
    """What can be done with job passes beside using them."""

    def __init__(
        self, *, entrance: Entrance, passes: JobPasses, policies: Policies, holds: Holds, roll: Roll, clock: Clock
    ) -> None:
        self._entrance = entrance
        self._holds = holds
        self._passes = passes
        self._policies = policies
        self._roll = roll
        self._clock = clock

    async def make(
        self, ask: Ask, *, role: str, networks: tuple[Network, ...] | None, lifetime: timedelta | None
    ) -> Made:
        """A pass for the sender of a ticket; for the address that asks, where no networks are named.

        Raises:
            BrokerError: Nobody, not allowed, not available, or not recorded.
        """
        async with self._entrance.attempt(ask, action="make_pass", resource=role) as event:
            event.role = printable(role)
            now = self._clock.now()
            identity = job_pass.delegated(await self._entrance.present(ask, event), now=now)
            until = delegable_until(
                self._policies.current, identity=identity, role=role_named(role), address=ask.address, now=now
            )
            self._holds.require_none(identity)
            made = self._passes.made(
                identity,
                role=role,
                networks=networks or _here(ask.address),
                lifetime=lifetime or job_pass.LIFETIME,
                until=until,
            )
            await self._passes.enter(made)
            await self._note(made, ask)
            return self._handed_out(made, event, Kind.DELEGATED)

    async def renew(self, ask: Ask) -> Made:
        """The same pass with a later end, while its owner may have the role. Raises like ``make``."""
        async with self._entrance.attempt(ask, action="renew_pass", resource="current") as event:
            shown = await self._entrance.by_pass(ask, event)
            event.role = shown.role
            renewed = self._passes.renewed(shown)
            now, role = self._clock.now(), role_named(renewed.role)
            decide(self._policies.current, identity=renewed.identity, role=role, address=ask.address, now=now)
            self._holds.require_none(renewed.identity)
            await self._note(renewed, ask)
            return self._handed_out(renewed, event, Kind.RENEWED)

    async def narrow(self, ask: Ask, *, networks: tuple[Network, ...] | None, lifetime: timedelta | None) -> Made:
        """A pass that is good for less, of whoever holds one. Raises like ``make``."""
        async with self._entrance.attempt(ask, action="attenuate_pass", resource="current") as event:
            shown = await self._entrance.by_pass(ask, event)
            event.role = shown.role
            self._holds.require_none(shown.identity)
            narrowed = self._passes.narrowed(shown, networks=networks, lifetime=lifetime)
            event.details["made_from"] = shown.id
            await self._passes.enter(narrowed)
            await self._note(narrowed, ask)
            return self._handed_out(narrowed, event, Kind.ATTENUATED)

    async def cancel(self, ask: Ask, *, identifier: str) -> None:
        """End a pass of somebody who shows a ticket or a session, and all that was made from it. Raises like ``make``.

        Raises:
            NotFound: They have none of this id; nobody learns whether somebody else has.
        """
        async with self._entrance.attempt(ask, action="cancel_pass", resource=identifier) as event:
            identity = await self._entrance.known(ask, event)
            event.details["pass_id"] = identifier
            if not await self._passes.cancel(identifier, identity.principal):
                raise NotFound(reason="pass_unknown", hint="you have no job pass of this id")
            event.done(Kind.CANCELLED)

    async def give_back(self, ask: Ask) -> None:
        """End the pass that is shown, and all that was made from it. Raises like ``make``."""
        async with self._entrance.attempt(ask, action="cancel_pass", resource="current") as event:
            shown = await self._entrance.by_pass(ask, event)
            event.role = shown.role
            await self._passes.cancel(shown.id, shown.identity.principal)
            event.done(Kind.CANCELLED)

    async def _note(self, made: JobPass, ask: Ask) -> None:
        """So that its owner sees it. A renewed one takes the place of what it was."""
        members = {
            "role": made.role,
            "networks": [str(network) for network in made.networks],
            "lineage": made.lineage,
            "renewable_until": int(made.renewable_until.timestamp()),
            "address": ask.source_ip,
            "epoch": made.epoch,
        }
        owner, until = made.identity.principal, made.identity.ticket_end
        await self._roll.note(owner, Noting.PASS, Note(made.id, made.made, until, members))

    def _handed_out(self, made: JobPass, event: Event, kind: Kind) -> Made:
        event.details |= {
            "pass_id": made.id,
            "pass_expires": rfc3339(made.identity.ticket_end),
            "pass_renewable_until": rfc3339(made.renewable_until),
            "pass_networks": [str(network) for network in made.networks],
        }
        event.done(kind)
        return Made(text=self._passes.seal(made), job_pass=made)


def _here(address: Address | None) -> tuple[Network, ...]:
    if address is None:
        raise BadRequest(reason="pass_without_network", hint='a local socket has no address: name "networks"')
    return (job_pass.only(address),)
