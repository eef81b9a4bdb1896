"""THE WAY to a secret, one for every vault that can stand behind it.

    ask -> authenticate -> signed? -> a rule for this path and action -> (a change: intent) -> vault -> record -> answer

The record ``secret_access`` is on stable storage before a value leaves, and before anybody hears of a refusal. It holds no value
and no name of a field: what people call a field may be half a secret. Without a rule the vault is not asked at all, so a
refusal cannot tell whether there is such a secret (docs/adr/0030-doors-of-the-vault.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from broker.audit.event import Event, Kind
from broker.authn.signature import Signatures
from broker.authz.policies import Policies
from broker.authz.secrets import Caller, permit, visible_below
from broker.core.clock import Clock
from broker.core.elevation import REASON_LENGTH_MAX
from broker.core.errors import BadRequest
from broker.core.identity import Identity
from broker.core.secret import Secret
from broker.core.secret_path import PATH_MAX, is_path
from broker.core.secret_rule import Action, SecretRule
from broker.issuing.ask import Ask, Entrance, printable
from broker.issuing.secret_failures import failures, unsupported
from broker.issuing.secret_metadata import described, due_members, policy_of, with_changes
from broker.revocation.holds import Holds
from broker.secrets.generate import generate
from broker.secrets.metadata import Actor, Details
from broker.secrets.provider import Provider, Version
from broker.secrets.vault import Vault
from broker.wire_secrets import Described, Writing

_PATH_HINT = f"a path is at most {PATH_MAX} letters, digits and _.@- between slashes, without percent-encoding"
# What is done, as records say it, and what a rule must allow for it.
_NEEDED = {
    "list": Action.LIST,
    "due": Action.LIST,
    "versions": Action.LIST,
    "read": Action.READ,
    "write": Action.WRITE,
    "describe": Action.WRITE,
    "delete": Action.DELETE,
    "undelete": Action.DELETE,
    "archive": Action.DELETE,
    "unarchive": Action.DELETE,
    "destroy": Action.DESTROY,
    "purge": Action.DESTROY,
}
_DOOR = "/v1/secrets"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which secret, as the client writes it, and why in its words."""

    path: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Admitted:
    """Somebody who may do what they ask."""

    event: Event
    caller: Caller

    @property
    def actor(self) -> Actor:
        """For what the vault keeps of a secret."""
        return Actor(who=str(self.caller.identity.principal), what=_DOOR)


class SecretDesk:
    """What can be asked of the vault."""

    def __init__(
        self,
        *,
        entrance: Entrance,
        policies: Policies,
        holds: Holds,
        signatures: Signatures,
        provider: Provider,
        vault: Vault | None,
        clock: Clock,
    ) -> None:
        """Take the vault: ``provider`` is any, ``vault`` the integrated one where that is it, which can do more."""
        self._entrance = entrance
        self._policies = policies
        self._holds = holds
        self._signatures = signatures
        self._provider = provider
        self._vault = vault
        self._clock = clock

    async def read(self, ask: Ask, wanted: Wanted, *, version: str | None = None) -> Version:
        """The values of the newest version, or of another.

        Raises:
            BrokerError: Nobody, not allowed, not there, not available, or not recorded.
        """
        async with self._attempt(ask, wanted, "read") as admitted:
            if self._vault is not None:
                found = await self._vault.read(wanted.path, version=version, by=admitted.actor)
            else:
                found = await self._provider.read(wanted.path, version=version)
            self._holds.require_none(admitted.caller.identity)
            admitted.event.details["version"] = found.number
            admitted.event.done(Kind.SECRET)
            return found

    async def write(self, ask: Ask, wanted: Wanted, new: Writing) -> str:
        """A new version, and its number; what is made for it is told to nobody. Raises like ``read``."""
        async with self._attempt(ask, wanted, "write") as admitted:
            values = {name: Secret(text) for name, text in new.fields.items()}
            values |= {name: generate(policy_of(recipe)) for name, recipe in new.generate.items()}
            admitted.event.details |= {"fields": len(values), "generated": len(new.generate)}
            if new.described is not None:
                self._the_vault("what is said about secrets")
                # Whatever is unfit of it is found before anything is written.
                with_changes(new.described)(Details())
            await self._entrance.intend(ask, admitted.event)
            number = await self._written(wanted.path, values, new, admitted.actor)
            self._changed(admitted.event, version=number)
            return number

    async def _written(self, path: str, values: Mapping[str, Secret], new: Writing, actor: Actor) -> str:
        if self._vault is None:
            return await self._provider.write(path, values, cas=new.cas)
        number = await self._vault.write(path, values, cas=new.cas, by=actor)
        if new.described is not None:
            await self._vault.annotate(path, with_changes(new.described), by=actor)
        return number

    async def delete(self, ask: Ask, wanted: Wanted, *, versions: Sequence[int] | None = None) -> None:
        """Away with the newest version, or others, so that it can come back where the vault can do that. Raises like ``read``."""
        async with self._attempt(ask, wanted, "delete") as admitted:
            if self._vault is None and versions is not None:
                raise unsupported("single versions")
            admitted.event.details["versions"] = versions and list(versions)
            await self._entrance.intend(ask, admitted.event)
            if self._vault is None:
                await self._provider.delete(wanted.path)
            else:
                await self._vault.delete(wanted.path, versions, by=admitted.actor)
            self._changed(admitted.event)

    async def undelete(self, ask: Ask, wanted: Wanted, *, versions: Sequence[int] | None) -> None:
        """The newest version back, or others. Raises like ``read``."""
        path = wanted.path
        await self._change(
            ask, wanted, "undelete", lambda vault, by: vault.undelete(path, versions, by=by), versions=versions
        )

    async def destroy(self, ask: Ask, wanted: Wanted, *, versions: Sequence[int] | None) -> None:
        """The values of these versions are gone for ever; the vault wants to be told which. Raises like ``read``."""
        path, named = wanted.path, versions or ()
        await self._change(
            ask, wanted, "destroy", lambda vault, by: vault.destroy(path, named, by=by), versions=versions
        )

    async def purge(self, ask: Ask, wanted: Wanted) -> None:
        """All of it is gone for ever, but that it was there. Raises like ``read``."""
        await self._change(ask, wanted, "purge", lambda vault, by: vault.purge(wanted.path, by=by))

    async def archive(self, ask: Ask, wanted: Wanted) -> None:
        """Put it away, values and all, until it is taken back. Raises like ``read``."""
        await self._change(ask, wanted, "archive", lambda vault, by: vault.archive(wanted.path, by=by))

    async def unarchive(self, ask: Ask, wanted: Wanted) -> None:
        """Take it back. Raises like ``read``."""
        await self._change(ask, wanted, "unarchive", lambda vault, by: vault.unarchive(wanted.path, by=by))

    async def describe(self, ask: Ask, wanted: Wanted, new: Described) -> None:
        """Change what people are to know of it. Raises like ``read``."""
        change = with_changes(new)
        await self._change(ask, wanted, "describe", lambda vault, by: vault.annotate(wanted.path, change, by=by))

    async def metadata(self, ask: Ask, wanted: Wanted) -> dict[str, Any]:
        """What is known of it and its versions, without any value, for JSON. Raises like ``read``."""
        async with self._attempt(ask, wanted, "versions") as admitted:
            found = await self._the_vault("versions").metadata(wanted.path)
            admitted.event.done(Kind.SECRET)
            return described(found)

    async def listing(self, ask: Ask, wanted: Wanted) -> list[str]:
        """The paths below a prefix, the empty one for all, that somebody may list. Raises like ``read``."""
        async with self._below(ask, wanted, "list") as (event, is_visible):
            found = [path for path in await self._provider.list(wanted.path) if is_visible(path)]
            event.details["found"] = len(found)
            event.done(Kind.SECRET)
            return found

    async def due(self, ask: Ask, wanted: Wanted) -> list[dict[str, Any]]:
        """What is overdue for rotation of that, the longest overdue first, for JSON. Raises like ``read``."""
        async with self._below(ask, wanted, "due") as (event, is_visible):
            found = [due_members(one) for one in await self._the_vault("dates").due() if is_visible(one.path)]
            event.details["found"] = len(found)
            event.done(Kind.SECRET)
            return found

    async def misunderstood(self, ask: Ask, wanted: Wanted, action: str, error: BadRequest) -> None:
        """Tell whoever may do this there that their body cannot be read, and nobody else. Raises like ``read``."""
        async with self._attempt(ask, wanted, action):
            raise error

    async def _change(
        self,
        ask: Ask,
        wanted: Wanted,
        action: str,
        change: Callable[[Vault, Actor], Awaitable[object]],
        *,
        versions: Sequence[int] | None = None,
    ) -> None:
        async with self._attempt(ask, wanted, action) as admitted:
            vault = self._the_vault(action)
            if versions is not None:
                admitted.event.details["versions"] = list(versions)
            await self._entrance.intend(ask, admitted.event)
            await change(vault, admitted.actor)
            self._changed(admitted.event)

    def _the_vault(self, what: str) -> Vault:
        if self._vault is None:
            raise unsupported(what)
        return self._vault

    @staticmethod
    def _changed(event: Event, **details: object) -> None:
        event.details |= details
        event.is_irrevocable = True
        event.done(Kind.SECRET)

    @asynccontextmanager
    async def _attempt(self, ask: Ask, wanted: Wanted, action: str) -> AsyncIterator[_Admitted]:
        async with self._asking(ask, wanted, action) as (event, caller):
            if not is_path(wanted.path):
                raise BadRequest(reason="path_malformed", hint=_PATH_HINT)
            event.details["rule"] = permit(self._rules, caller, path=wanted.path, action=_NEEDED[action]).rule
            self._holds.require_none(caller.identity)
            yield _Admitted(event, caller)

    @asynccontextmanager
    async def _below(self, ask: Ask, wanted: Wanted, action: str) -> AsyncIterator[tuple[Event, Callable[[str], bool]]]:
        async with self._asking(ask, wanted, action) as (event, caller):
            if wanted.path and not is_path(wanted.path):
                raise BadRequest(reason="path_malformed", hint=_PATH_HINT)
            event.details["rule"], is_visible = visible_below(self._rules, caller, prefix=wanted.path)
            self._holds.require_none(caller.identity)
            # Whatever a vault takes for a prefix, nothing beside it is shown.
            below = f"{wanted.path}/" if wanted.path else ""
            yield event, lambda path: path.startswith(below) and is_visible(path)

    @property
    def _rules(self) -> Sequence[SecretRule]:
        return self._policies.current.secret_rules

    @asynccontextmanager
    async def _asking(self, ask: Ask, wanted: Wanted, action: str) -> AsyncIterator[tuple[Event, Caller]]:
        # No page of ours shows secrets: what a browser sends along by itself opens none.
        ask.cookie = None
        event = Event.of_secret(
            action=action,
            path=printable(wanted.path, longest=PATH_MAX + 1),
            request_id=ask.request_id,
            source_ip=ask.source_ip,
        )
        if wanted.reason is not None:
            event.details["stated_reason"] = printable(wanted.reason, longest=REASON_LENGTH_MAX)
        async with self._entrance.attempting(ask, event):
            identity = await self._named(ask, event)
            caller = Caller(identity=identity, address=ask.address, now=self._clock.now(), reason=wanted.reason)
            with failures():
                yield event, caller

    async def _named(self, ask: Ask, event: Event) -> Identity:
        """Who asks: by a ticket, or a session of a program; a job pass is for its role alone."""
        identity = await self._entrance.known(ask, event)
        signed_by = await self._signatures.check(ask.request, sender=identity.principal)
        if signed_by is not None:
            event.details["signed_by"] = signed_by
        return identity
