"""The operators' door: who they are, and which keys they sign with."""

from __future__ import annotations

from collections.abc import Sequence

from broker.assembly.entrance import Entry
from broker.authn.signature import Registered, Signatures
from broker.authz.operators import Operators
from broker.authz.policies import Policies
from broker.config.admin import Admin, SigningKey
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.core.errors import ConfigurationError
from broker.core.pattern import PrincipalPattern
from broker.core.rule import Requirements
from broker.issuing.operators import OperatorsDoor
from broker.keys.request_key import UnusableKey, public_request_key


def registered_keys(entries: Sequence[SigningKey], *, section: str) -> list[Registered]:
    """The keys of a section of the configuration.

    Raises:
        ConfigurationError: One is none, or two people share one.
    """
    found: dict[str, Registered] = {}
    problems = []
    for place, entry in enumerate(entries):
        key_path = f"{section}.signing_keys[{place}].public_key"
        try:
            key = public_request_key(entry.public_key.encode())
        except UnusableKey as error:
            fix = "openssl genpkey -algorithm ed25519 -out KEY; openssl pkey -in KEY -pubout"
            problems.append(f"{key_path}: {error} — fix: {fix}")
            continue
        if key.id in found:
            # Whose signature it is would depend on the order here.
            problems.append(f"{key_path}: is registered twice — fix: give each person a key of their own")
        found[key.id] = Registered(key=key, owner=PrincipalPattern.parse(entry.principal))
    if problems:
        raise ConfigurationError(problems)
    return list(found.values())


def secret_signing_keys(settings: Settings, *, of_operators: list[Registered]) -> list[Registered]:
    """Those that requests for secrets may be signed with: those of the section, and the operators'.

    Raises:
        ConfigurationError: One is none or has two owners, or there is none where one is needed.
    """
    own = registered_keys(settings.secrets.signing_keys, section="secrets")
    owners = {one.key.id: one.owner for one in of_operators}
    if any(owners.get(one.key.id, one.owner) != one.owner for one in own):
        what = "secrets.signing_keys: holds the key of an operator under another name"
        raise ConfigurationError([f"{what} — fix: give each person a key of their own"])
    found = [*of_operators, *(one for one in own if one.key.id not in owners)]
    if settings.secrets.require_signed_requests and not found:
        what = "secrets.require_signed_requests: there is no key, so that nobody could sign a request"
        raise ConfigurationError([f"{what} — fix: add secrets.signing_keys, or set it to false"])
    return found


def operators_of(admin: Admin | None) -> Operators:
    """Whom the configuration names; nobody without the section."""
    if admin is None:
        return Operators(patterns=(), require=Requirements())
    return Operators(patterns=[PrincipalPattern.parse(text) for text in admin.principals], require=admin.require.made())


def operators_door(
    admin: Admin | None, *, entry: Entry, policies: Policies, keys: list[Registered], clock: Clock
) -> OperatorsDoor:
    """The door, which opens to nobody without the section."""
    return OperatorsDoor(
        entrance=entry.entrance,
        policies=policies,
        signatures=Signatures(
            keys=keys,
            required=admin is not None and admin.require_signed_requests,
            proofs=entry.proofs,
            clock=clock,
        ),
        passes=entry.passes,
        clock=clock,
    )
