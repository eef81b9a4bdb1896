"""The operators' door: a ticket, shown now, of somebody who operates the broker, on a request that is signed where it must be.

    ticket -> an operator? -> signed by them? -> what they asked -> record

Nothing else opens it: no session, no cookie, no job pass, and no account of this host. A local socket's peer is recorded and
proves nothing (docs/adr/0015-operators-door.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from broker.audit.event import Event, Kind
from broker.authn.identity import principal_from
from broker.authn.job_pass import JobPasses
from broker.authn.signature import Signatures
from broker.authz.policies import Policies
from broker.core.clock import Clock
from broker.core.errors import AuthFailed, BadRequest, NotFound
from broker.core.principal import Principal
from broker.issuing.ask import Ask, Entrance, printable

# Characters of a printed principal in a record.
_PRINTED_MAX = 600


class OperatorsDoor:
    """Lets operators in, one request at a time."""

    def __init__(
        self, *, entrance: Entrance, policies: Policies, signatures: Signatures, passes: JobPasses, clock: Clock
    ) -> None:
        self._entrance = entrance
        self._policies = policies
        self._signatures = signatures
        self._passes = passes
        self._clock = clock

    @property
    def must_sign(self) -> bool:
        """Whether requests must be signed."""
        return self._signatures.required

    @asynccontextmanager
    async def attempt(self, ask: Ask, *, action: str, resource: str) -> AsyncIterator[Event]:
        """Bracket what an operator asks: its record is written whatever happens inside, before anybody hears of the outcome.

        Once inside, ``ask.identity`` is the operator, and the event's ``signed_by`` the key that the request was signed with.

        Raises:
            BrokerError: Nobody, no operator, not signed, or not recorded.
        """
        async with self._entrance.attempt(ask, action=action, resource=resource) as event:
            identity = await self._entrance.by_ticket(ask, event)
            self._policies.admission.operators.admit(identity, now=self._clock.now())
            event.details["signed_by"] = await self._signatures.check(ask.request, sender=identity.principal)
            # Nothing is waited for between this and what they do: who was revoked meanwhile restores nobody, themselves least.
            self._entrance.require_still(identity)
            yield event

    async def intend(self, ask: Ask, event: Event) -> None:
        """Put on record what they are about to give back; from here on again nothing may be waited for.

        Raises:
            BrokerError: Not recorded, or they were revoked meanwhile: nothing may be given back.
        """
        await self._entrance.intend(ask, event)

    async def misunderstood(self, ask: Ask, error: BadRequest) -> None:
        """Tell an operator that their body cannot be read; and who is none, that they are none. Raises like ``attempt``."""
        async with self.attempt(ask, action="operator_request", resource="unreadable"):
            raise error

    async def whoami(self, ask: Ask) -> str | None:
        """The key that an operator's request was signed with, if it was; who they are is in ``ask``. Raises like ``attempt``."""
        async with self.attempt(ask, action="operator_whoami", resource="self") as event:
            signed_by: str | None = event.details["signed_by"]
            event.shown()
        return signed_by

    async def cancel_pass(self, ask: Ask, *, user: str, identifier: str) -> None:
        """End somebody's job pass, and all that was made from it. Raises like ``attempt``.

        Raises:
            BadRequest: Nobody can be called so.
            NotFound: They have none of this id.
        """
        async with self.attempt(ask, action="operator_cancel_pass", resource=user) as event:
            event.details |= {"about": printable(user, longest=_PRINTED_MAX), "pass_id": identifier}
            if not await self._passes.cancel(identifier, _principal_named(user)):
                raise NotFound(reason="pass_unknown", hint="this user has no job pass of this id")
            event.done(Kind.CANCELLED)


def _principal_named(text: str) -> Principal:
    """Whom an operator means.

    Raises:
        BadRequest: Nobody who could ever ask the broker is called so.
    """
    hint = "name a principal as klist prints it: alice@EXAMPLE.COM"
    try:
        principal = principal_from(text.encode("ascii"), anonymous=False)
    except (UnicodeEncodeError, AuthFailed) as error:
        raise BadRequest(reason="user_malformed", hint=hint) from error
    if not principal.realm:
        raise BadRequest(reason="user_malformed", hint=hint)
    return principal
