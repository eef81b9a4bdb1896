"""The shapes that client and broker share: header names, paths, member names, problem codes, and the bodies themselves.

Standard library only, and ``json`` is loaded by the functions that need it and not by the import: the user's helper runs a
hundred times in parallel, takes only the names from here, and would pay 8 ms for a parser it does not use.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# A page of another origin cannot set this header without a preflight, and a preflight is never granted.
REQUEST_HEADER = "X-Zerotrust-Request"
REQUEST_HEADER_VALUE = "1"

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"  # RFC 9457
PROBLEMS_PATH = "/problems"  # and a code: the page that a problem's `type` names

CREDENTIALS_PATH = "/v1/credentials"
ROLES_PATH = "/v1/roles"
WHOAMI_PATH = "/v1/whoami"
EXPLAIN_PATH = "/v1/explain"
SESSIONS_PATH = "/v1/sessions"
CURRENT_SESSION_PATH = "/v1/sessions/current"
CONTAINER_PATH = "/v1/container"  # and the name of a role
PASSES_PATH = "/v1/passes"
CONSOLE_PATH = "/v1/console"
REQUESTS_PATH = "/v1/requests"

# The prefix makes browsers insist: Secure, no Domain, Path=/ (RFC 6265bis, section 4.1.3.2), so that no neighbour sets it.
SESSION_COOKIE = "__Host-zerotrust"
DPOP = "DPoP"  # RFC 9449: the header of the proof, and the scheme of the token.

# What readers of credential_process output know, beside Version; only botocore knows AccountId.
VERSION = 1
PROCESS_MEMBERS = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "AccountId")
# What a program gets of it.
SDK_MEMBERS = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "RoleArn")
PROCESS_OPTIONAL = frozenset({"AccountId"})

# Every ``code`` that a problem body can carry. The status table of the web room and the exit table of the client are both
# total over this list.
PROBLEM_CODES = (
    "bad_request",
    "auth_required",
    "auth_failed",
    "signature_refused",
    "access_denied",
    "step_up_required",
    "approval_required",
    "revoked",
    "cross_site_blocked",
    "not_found",
    "method_not_allowed",
    "too_large",
    "unsupported_media_type",
    "host_not_allowed",
    "rate_limited",
    "headers_too_large",
    "internal_error",
    "sts_rejected",
    "sts_unavailable",
    "sts_timeout",
    "audit_unavailable",
    "replay_guard_unavailable",
    "passes_unavailable",
    "secret_not_found",
    "version_conflict",
    "secrets_unavailable",
    "secrets_rejected",
    "keys_unavailable",
    "revocations_unavailable",
    "directory_unavailable",
    "approvals_unavailable",
    "overloaded",
    "draining",
)

# Seconds that credentials are good for when whoever keeps them, on either side, asks for new ones: botocore runs its helper
# again at every signature from 15 minutes on, so what is kept must never come near them.
REFRESH_AT = 20 * 60

# Bytes. The name of a role or scope has at most 64 characters; the rest is room for white space and escapes.
REQUEST_BODY_MAX = 4096
ROLE_LENGTH_MAX = 64
DESTINATION_LENGTH_MAX = 2048
# Characters: a ticket's number and a sentence.
REASON_LENGTH_MAX = 200
# What a job pass may be good for, so that it stays short.
NETWORKS_MAX = 16
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION_DIGITS = 6


class CredentialsRequest:
    """The body of ``POST /v1/credentials``: a role and one of its scopes by name, a reason for the record, and nothing else."""

    __slots__ = ("reason", "role", "scope")

    def __init__(self, *, role: str, scope: str | None = None, reason: str | None = None) -> None:
        self.role = role
        self.scope = scope
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CredentialsRequest) and other._members() == self._members()

    def __hash__(self) -> int:
        return hash(self._members())

    def __repr__(self) -> str:
        return f"CredentialsRequest(role={self.role!r}, scope={self.scope!r}, reason={self.reason!r})"

    def _members(self) -> tuple[str, str | None, str | None]:
        return self.role, self.scope, self.reason


def parse_credentials_request(body: bytes) -> CredentialsRequest:
    """Read ``{"role": NAME, "scope"?: NAME, "reason"?: TEXT}`` strictly.

    Raises:
        ValueError: Its text is a sentence for the client; it never quotes what was sent.
    """
    members = _members(body, ("role", "scope", "reason"))
    if "role" not in members:
        raise ValueError('The member "role" is missing.')
    return CredentialsRequest(
        role=_name(members["role"], "role"),
        scope=_name(members["scope"], "scope") if "scope" in members else None,
        reason=_reason(members["reason"], "reason") if "reason" in members else None,
    )


class ConsoleRequest:
    """The body of ``POST /v1/console``; ``destination`` is a page that nobody has looked at."""

    __slots__ = ("destination", "reason", "role", "scope")

    def __init__(self, *, role: str, scope: str | None, destination: str | None, reason: str | None = None) -> None:
        self.role = role
        self.scope = scope
        self.reason = reason
        self.destination = destination


def parse_console_request(body: bytes) -> ConsoleRequest:
    """Read ``{"role": NAME, "scope"?: NAME, "destination"?: URL, "reason"?: TEXT}`` strictly. Raises like the others."""
    members = _members(body, ("role", "scope", "destination", "reason"))
    if "role" not in members:
        raise ValueError('The member "role" is missing.')
    destination = members.get("destination", "")
    if not isinstance(destination, str) or len(destination) > DESTINATION_LENGTH_MAX:
        raise ValueError(f'"destination" must be a URL of at most {DESTINATION_LENGTH_MAX} characters.')
    return ConsoleRequest(
        role=_name(members["role"], "role"),
        scope=_name(members["scope"], "scope") if "scope" in members else None,
        destination=destination if "destination" in members else None,
        reason=_reason(members["reason"], "reason") if "reason" in members else None,
    )


def console_body(url: str) -> bytes:
    """The answer to ``POST /v1/console``."""
    return _encode({"url": url})


class PassRequest:
    """The body of ``POST /v1/passes``, and without ``role`` that of ``/v1/passes/current/attenuate``.

    ``networks`` are texts that nobody has looked at, ``lifetime`` is in seconds; None where the client does not say.
    """

    __slots__ = ("lifetime", "networks", "role")

    def __init__(self, *, role: str, networks: tuple[str, ...] | None, lifetime: int | None) -> None:
        self.role = role
        self.networks = networks
        self.lifetime = lifetime


def parse_pass_request(body: bytes) -> PassRequest:
    """Read ``{"role": NAME, "networks"?: [CIDR, ...], "lifetime"?: "8h"}`` strictly. Raises like the others."""
    members = _members(body, ("role", "networks", "lifetime"))
    if "role" not in members:
        raise ValueError('The member "role" is missing.')
    return _pass_request(members, role=_name(members["role"], "role"))


def parse_attenuation(body: bytes) -> PassRequest:
    """Read ``{"networks"?: [CIDR, ...], "lifetime"?: "1h"}``, at least one of them; ``role`` is then empty."""
    members = _members(body, ("networks", "lifetime"))
    if not members:
        raise ValueError('Say "networks", "lifetime" or both.')
    return _pass_request(members, role="")


def _pass_request(members: Mapping[str, object], *, role: str) -> PassRequest:
    return PassRequest(
        role=role,
        networks=_networks(members["networks"]) if "networks" in members else None,
        lifetime=seconds_of(members["lifetime"], "lifetime") if "lifetime" in members else None,
    )


def _name(name: object, member: str) -> str:
    if not isinstance(name, str):
        raise ValueError(f'"{member}" must be a string.')  # noqa: TRY004  one kind of error for one kind of fault
    # ASCII also keeps out lone surrogates (RFC 8259, section 8.2), which no log or database can store.
    if not (1 <= len(name) <= ROLE_LENGTH_MAX and name.isascii() and name.isprintable()):
        raise ValueError(f'"{member}" must be 1 to {ROLE_LENGTH_MAX} printable ASCII characters.')
    return name


def _networks(networks: object) -> tuple[str, ...]:
    if not isinstance(networks, list) or isinstance(networks, _Members) or not 1 <= len(networks) <= NETWORKS_MAX:
        raise ValueError(f'"networks" must be a list of 1 to {NETWORKS_MAX} networks.')
    if not all(isinstance(network, str) for network in networks):
        raise ValueError('Each of "networks" must be a string.')
    return tuple(networks)


def _reason(reason: object, member: str) -> str:
    # Printable keeps out what a terminal would obey, what hides other characters, and lone surrogates.
    if not isinstance(reason, str) or not reason.strip() or len(reason) > REASON_LENGTH_MAX or not reason.isprintable():
        raise ValueError(f'"{member}" must be 1 to {REASON_LENGTH_MAX} printable characters.')
    return reason.strip()


def seconds_of(duration: object, member: str) -> int:
    """``30m``. Raises like the others."""
    if isinstance(duration, str) and duration.isascii():
        number, unit = duration[:-1], duration[-1:]
        if number.isdecimal() and len(number) <= _DURATION_DIGITS and unit in _SECONDS:
            return int(number) * _SECONDS[unit]
    raise ValueError(f'"{member}" must be a number and its unit: "30m", "8h" or "2d".')


def _members(body: bytes, names: tuple[str, ...], longest: int = REQUEST_BODY_MAX) -> dict[str, object]:
    """The members of an object that has no others than these, and each at most once; of at most so many bytes."""
    members = _only_object(body, longest)
    if any(name not in names for name, _ in members):
        raise ValueError(f"Only the members {', '.join(names)} are understood.")
    if len(dict(members)) < len(members):
        raise ValueError("A member is given twice.")
    return dict(members)


class _Members(list[tuple[str, object]]):
    """A JSON object as its members in order, so that a duplicate is still visible (RFC 8259, section 4)."""


def _only_object(body: bytes, longest: int) -> _Members:
    import json  # noqa: PLC0415  see the module's promise

    if len(body) > longest:
        raise ValueError(f"The body is longer than {longest} bytes.")
    try:
        # Decoded here: json.loads would guess UTF-16 and UTF-32 from bytes, and take a byte order mark.
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("The body is not UTF-8.") from None
    try:
        found = json.loads(text, object_pairs_hook=_Members)
    except RecursionError:
        raise ValueError("The body is nested too deeply.") from None
    except ValueError:
        raise ValueError("The body is not JSON.") from None
    if not isinstance(found, _Members):
        raise ValueError("The body is not a JSON object.")  # noqa: TRY004  as above
    return found


def credentials_members(
    *,
    access_key_id: str,
    secret_access_key: str,
    session_token: str,
    expiration: str,
    account: str,
    role_arn: str,
) -> dict[str, object]:
    """The members of the body that serves ``credential_process`` and the SDKs' container provider (which reads ``Token``).

    Args:
        access_key_id: ``ASIA...``.
        secret_access_key: Revealed by the caller, at the last moment.
        session_token: The same.
        expiration: ``%Y-%m-%dT%H:%M:%SZ``; without it no SDK ever refreshes.
        account: Twelve digits.
        role_arn: The ARN of the role of the last hop.
    """
    return {
        "Version": VERSION,
        "AccessKeyId": access_key_id,
        "SecretAccessKey": secret_access_key,
        "SessionToken": session_token,
        "Token": session_token,
        "Expiration": expiration,
        "AccountId": account,
        "RoleArn": role_arn,
    }


def credentials_body(**members: str) -> bytes:
    """The body itself; ``members`` as above."""
    return _encode(credentials_members(**members))


def whoami_body(
    *, principal: str, realm: str, name_type: str, ticket_ends: str, accounts: Iterable[Mapping[str, object]]
) -> bytes:
    """Who the caller is to the broker. ``principal`` is the whole printed name, ``ticket_ends`` like ``Expiration``.

    ``accounts`` are those of the roles that they may have: ``{"account", "account_alias"?, "production"}``.
    """
    return _encode(
        {
            "principal": principal,
            "realm": realm,
            "type": name_type,
            "ticket_ends": ticket_ends,
            "accounts": [dict(account) for account in accounts],
        }
    )


def roles_body(roles: Iterable[Mapping[str, object]]) -> bytes:
    """The roles that the caller may have, in the order given.

    ``{"roles": [{"name", "account", "account_alias"?, "role_arn", "scopes": [NAME, ...], "needs": [WORD, ...], "production"},
    ...]}``; needs are ``reason``, ``approval`` and ``break_glass``, production whether people must not mistake the account.
    """
    return _encode({"roles": [dict(role) for role in roles]})


def session_body(*, access_token: str, expires_in: int) -> bytes:
    """A session for a program (RFC 6749 section 5.1, RFC 9449 section 5). ``expires_in`` is in seconds."""
    return _encode({"access_token": access_token, "token_type": DPOP, "expires_in": expires_in})


def pass_body(
    *, token: str, identifier: str, role: str, networks: Iterable[str], expires: str, renewable_until: str
) -> bytes:
    """A job pass: ``token`` is a secret, ``identifier`` names it in records and for cancelling. Times like ``Expiration``."""
    return _encode(
        {
            "pass": token,
            "id": identifier,
            "role": role,
            "networks": list(networks),
            "expires": expires,
            "renewable_until": renewable_until,
        }
    )


def problem_body(*, code: str, status: int, title: str, hint: str, request_id: str) -> bytes:
    """RFC 9457, with our three members ``code``, ``hint`` and ``request_id``; ``type`` is a page of the broker's own."""
    kind = f"{PROBLEMS_PATH}/{code}"
    members = {"type": kind, "title": title, "status": status, "code": code, "hint": hint, "request_id": request_id}
    return _encode(members)


def _encode(members: Mapping[str, object]) -> bytes:
    import json  # noqa: PLC0415  see the module's promise

    return json.dumps(members, separators=(",", ":")).encode("ascii")
