"""The AWS accounts that the strict STS believes in: users with keys, and roles. Pure data, to and from JSON.

An account exists because a user or role in it does. Documents are real IAM JSON and are read when the world is made: one
that cannot be evaluated whole, or trusts a user or role that is not in the world, raises ``WorldError`` there and then (IAM
refuses such trust too: "Invalid principal in policy").
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from tests.fakes.sts.policy import Kind, Policy, UnsupportedPolicy, read_policy

# IAM: MaxSessionDuration is 3600 to 43200 seconds.
SHORTEST_MAX_SESSION = 3600
LONGEST_MAX_SESSION = 43200

_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>[0-9]{12}):(?P<kind>user|role)/"
    r"(?:[\x21-\x2e\x30-\x7e]+/)*(?P<name>[\w+=,.@-]{1,64})",
    re.ASCII,
)
_ACCESS_KEY_ID = re.compile(r"AKIA[A-Z0-9]{16}")
_SECRET_CHARS = 40


class WorldError(ValueError):
    """The world cannot exist. The text names the entity, the fault, and what is expected."""


@dataclass(frozen=True, slots=True)
class User:
    """An IAM user with one access key and one identity policy."""

    arn: str
    access_key_id: str
    secret_access_key: str
    policy: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Role:
    """An IAM role. ``policy`` is its identity policy, or None for a role that may do nothing further in STS."""

    arn: str
    trust_policy: dict[str, Any]
    policy: dict[str, Any] | None = None
    max_session_duration: int = SHORTEST_MAX_SESSION


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """An IAM OIDC provider. ``documents_at`` is where its documents are found here, as DNS and TLS would find ``url``."""

    arn: str
    url: str
    client_ids: tuple[str, ...]
    documents_at: str


@dataclass(frozen=True)
class World:
    """All users, roles and identity providers there are."""

    users: tuple[User, ...]
    roles: tuple[Role, ...]
    providers: tuple[OidcProvider, ...] = ()

    def __post_init__(self) -> None:
        arns = [one.arn for one in (*self.users, *self.roles, *self.providers)]
        keys = [user.access_key_id for user in self.users]
        for twice in {one for one in arns + keys if (arns + keys).count(one) > 1}:
            raise WorldError(f"{twice}: is in the world twice")
        for user in self.users:
            entity(user)
        for provider in self.providers:
            _check_provider(provider)
        for role in self.roles:
            for principal in _principals_of(entity(role)):
                if not _exists(principal, set(arns)):
                    raise WorldError(f"{role.arn}: trusts {principal}, which is not in this world")

    def to_json(self) -> str:
        """The text that ``from_json`` and ``--world FILE`` read."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> World:
        """Read a world.

        Raises:
            WorldError: Not JSON of this shape, or a world that cannot exist.
        """
        try:
            data = json.loads(text)
            users = tuple(User(**user) for user in data.pop("users"))
            roles = tuple(Role(**role) for role in data.pop("roles"))
            providers = tuple(_provider(**provider) for provider in data.pop("providers", ()))
            return cls(users=users, roles=roles, providers=providers, **data)
        except WorldError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorldError(f"not a world: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Entity:
    """A user or role with its ARN taken apart and its documents read."""

    arn: str
    partition: str
    account: str
    name: str
    unique_id: str
    policy: Policy | None
    trust: Policy | None
    max_session_duration: int

    def session_arn(self, session_name: str) -> str:
        """The ARN of a session of this role; the role's path is not part of it."""
        return f"arn:{self.partition}:sts::{self.account}:assumed-role/{self.name}/{session_name}"


def entity(one: User | Role) -> Entity:
    """Check a user or role and read its documents.

    Raises:
        WorldError: A field or a document is wrong.
    """
    match = _ARN.fullmatch(one.arn)
    if match is None or match["kind"] != ("user" if isinstance(one, User) else "role"):
        raise WorldError(f"{one.arn}: expected arn:aws:iam::ACCOUNT:user/NAME or :role/PATH/NAME")
    if isinstance(one, User) and not (
        _ACCESS_KEY_ID.fullmatch(one.access_key_id) and len(one.secret_access_key) == _SECRET_CHARS
    ):
        raise WorldError(f"{one.arn}: expected AKIA and 16 of A-Z0-9, and a secret of {_SECRET_CHARS} characters")
    longest = one.max_session_duration if isinstance(one, Role) else 0
    if isinstance(one, Role) and not SHORTEST_MAX_SESSION <= longest <= LONGEST_MAX_SESSION:
        raise WorldError(f"{one.arn}: max_session_duration must be {SHORTEST_MAX_SESSION} to {LONGEST_MAX_SESSION}")
    try:
        policy = None if one.policy is None else read_policy(one.policy, Kind.IDENTITY, where=one.arn)
        trust = read_policy(one.trust_policy, Kind.TRUST, where=one.arn) if isinstance(one, Role) else None
    except UnsupportedPolicy as error:
        raise WorldError(str(error)) from error
    return Entity(
        arn=one.arn,
        partition=match["partition"],
        account=match["account"],
        name=match["name"],
        unique_id=_unique_id("AROA" if trust else "AIDA", one.arn),
        policy=policy,
        trust=trust,
        max_session_duration=longest,
    )


def _unique_id(prefix: str, arn: str) -> str:
    """IAM's ids are a prefix and 17 characters; these are the same in every run."""
    return prefix + base64.b32encode(hashlib.sha256(arn.encode()).digest()).decode()[:17]


def _provider(*, client_ids: list[str], **rest: Any) -> OidcProvider:
    return OidcProvider(client_ids=tuple(client_ids), **rest)


def _check_provider(provider: OidcProvider) -> None:
    """IAM: the ARN ends in the URL without its scheme, which is https; one to a hundred audiences."""
    match = re.fullmatch(r"arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/(.+)", provider.arn)
    if match is None or provider.url != f"https://{match[1]}" or not provider.client_ids:
        raise WorldError(f"{provider.arn}: expected url https:// and what follows oidc-provider/, and client_ids")


def _principals_of(role: Entity) -> set[str]:
    statements = role.trust.statements if role.trust else ()
    return {principal for statement in statements for principal in (*statement.principals, *statement.federated)}


def _exists(principal: str, arns: set[str]) -> bool:
    """Accounts always exist; a session's role must, whatever its path, which a session's ARN does not show."""
    if ":sts:" in principal:
        frame, role_name, _session = principal.split("/")
        account = frame.split(":")[4]
        return any(f":{account}:role/" in arn and arn.rpartition("/")[2] == role_name for arn in arns)
    return principal in arns or not re.search(r":(user|role|oidc-provider)/", principal)
