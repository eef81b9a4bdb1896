"""The shapes that the operators' client and the broker share: paths, what a signature covers, and the bodies.

Apart from ``wire``, whose every line the user's helper pays for at each start. Strict like it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from broker.wire import _encode, _members

# What operators' programs ask below; no browser has business there.
PREFIX = "/v1/admin/"
WHOAMI_PATH = "/v1/admin/whoami"
CANCEL_PATH = "/v1/admin/passes/cancel"
REVOCATIONS_PATH = "/v1/admin/revocations"
RESTORE_PATH = "/v1/admin/revocations/restore"
NOTIFICATION_TEST_PATH = "/v1/admin/notifications/test"
ALERTS_PATH = "/v1/admin/alerts"
CLEAR_PATH = "/v1/admin/alerts/clear"
KEYS_PATH = "/v1/admin/keys"
ROTATE_PATH = "/v1/admin/keys/rotate"

# What can be rotated; and what is due.
MASTER, DUE = "master", "due"
ROTATED = (MASTER, "data", "session")

# RFC 9421: what a signed request covers; a request with a body its digest (RFC 9530) as well.
SIGNED_COMPONENTS = ("@method", "@authority", "@path", "@query", "authorization", "x-zerotrust-request")
SIGNED_DIGEST = "content-digest"

# A printed principal that may be known here is no longer.
TEXT_LENGTH_MAX = 600
PASS_ID_LENGTH = 32  # 128 bits in hex


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """What is revoked (``sessions`` or ``credentials``), of a ``user`` or of everybody, or would be (``dry_run``).

    ``aws``: what AWS has handed out is denied there.
    """

    what: str
    user: str | None
    role: str | None
    dry_run: bool
    aws: bool = False


def parse_revocation(body: bytes) -> RevocationRequest:
    """Read one of these strictly. Raises like those of ``wire``.

    ``{"what": "sessions", "user": P or "everybody": true, "dry_run"?: true}``,
    ``{"what": "credentials", "user": P, "role"?: R, "dry_run"?: true, "aws"?: true}``.
    """
    members = _members(body, ("what", "user", "everybody", "role", "dry_run", "aws"))
    what, user, role = (_text(members, name) for name in ("what", "user", "role"))
    everybody, dry_run, aws = (_flag(members, name) for name in ("everybody", "dry_run", "aws"))
    if what not in ("sessions", "credentials"):
        raise ValueError('"what" must be "sessions" or "credentials".')
    if everybody == (user is not None):
        raise ValueError('Name a "user", or say "everybody": true, and not both.')
    if what == "credentials" and user is None:
        raise ValueError('Credentials are revoked of one "user".')
    if what == "sessions" and role is not None:
        raise ValueError("Sessions are of no role.")
    if what == "sessions" and aws:
        raise ValueError("At AWS credentials are denied, not sessions.")
    return RevocationRequest(what=what, user=user, role=role, dry_run=dry_run, aws=aws)


def revocation(wanted: RevocationRequest) -> bytes:
    """The body that ``parse_revocation`` reads."""
    members = {"what": wanted.what, "user": wanted.user, "role": wanted.role, "dry_run": wanted.dry_run}
    members["everybody"] = True if wanted.user is None else None
    members["aws"] = True if wanted.aws else None
    return _encode({name: value for name, value in members.items() if value is not None})


def parse_restoration(body: bytes) -> tuple[str, bool]:
    """Read ``{"user": PRINCIPAL, "aws"?: true}`` strictly: whom, and whether at AWS too. Raises like the others."""
    members = _members(body, ("user", "aws"))
    user = _text(members, "user")
    if user is None:
        raise ValueError('The member "user" is missing.')
    return user, _flag(members, "aws")


def restoration(*, user: str, aws: bool = False) -> bytes:
    """The body that ``parse_restoration`` reads."""
    return _encode({"user": user, "aws": True} if aws else {"user": user})


def parse_pass_cancellation(body: bytes) -> tuple[str, str]:
    """Read ``{"user": PRINCIPAL, "id": PASS}`` strictly: whose it is, and what it is called. Raises like the others."""
    members = _members(body, ("user", "id"))
    user, identifier = (_text(members, name) for name in ("user", "id"))
    if user is None or identifier is None:
        raise ValueError('"user" and "id" must both be given.')
    if not (len(identifier) == PASS_ID_LENGTH and frozenset("0123456789abcdef").issuperset(identifier)):
        raise ValueError(f'"id" must be the {PASS_ID_LENGTH} hexadecimal digits of a job pass.')
    return user, identifier


def pass_cancellation(*, user: str, identifier: str) -> bytes:
    """The body that ``parse_pass_cancellation`` reads."""
    return _encode({"user": user, "id": identifier})


def parse_notification_test(body: bytes) -> str | None:
    """Read ``{"channel"?: NAME}`` strictly; None for every channel. Raises like the others."""
    return _text(_members(body, ("channel",)), "channel")


def notification_test(*, channel: str | None) -> bytes:
    """The body that ``parse_notification_test`` reads."""
    return _encode({} if channel is None else {"channel": channel})


def tried_body(tried: Iterable[tuple[str, bool, str]]) -> bytes:
    """What became of each test: ``{"tried": [{"channel", "delivered", "said"}, ...]}``."""
    found = [{"channel": channel, "delivered": delivered, "said": said} for channel, delivered, said in tried]
    return _encode({"tried": found})


def operator_body(
    *, principal: str, realm: str, ticket_ends: str, version: str, signed_by: str | None, must_sign: bool
) -> bytes:
    """Who an operator is to the broker, and to which. ``signed_by`` is the key that this very request was signed with."""
    return _encode(
        {
            "principal": principal,
            "realm": realm,
            "ticket_ends": ticket_ends,
            "version": version,
            "signed_by": signed_by,
            "signature_required": must_sign,
        }
    )


def revocations_body(revocations: Iterable[Mapping[str, object]]) -> bytes:
    """What is revoked, the latest first: ``{"revocations": [{"user", "role", "at", "by", "state", "until", "why"}, ...]}``."""
    return _encode({"revocations": [dict(revocation) for revocation in revocations]})


def parse_clearing(body: bytes) -> str:
    """Read ``{"user": PRINCIPAL}`` strictly. Raises like the others."""
    user = _text(_members(body, ("user",)), "user")
    if user is None:
        raise ValueError('The member "user" is missing.')
    return user


def clearing(*, user: str) -> bytes:
    """The body that ``parse_clearing`` reads."""
    return _encode({"user": user})


def parse_rotation(body: bytes) -> str:
    """Read ``{"what": "master" | "data" | "session" | "due"}`` strictly. Raises like the others."""
    what = _text(_members(body, ("what",)), "what")
    if what not in (*ROTATED, DUE):
        raise ValueError('"what" must be "master", "data", "session" or "due".')
    return what


def rotation(what: str) -> bytes:
    """The body that ``parse_rotation`` reads."""
    return _encode({"what": what})


def alerts_body(held: Iterable[Mapping[str, object]]) -> bytes:
    """What the watch holds or held: ``{"alerts": [{"user", "response", "at", "by", "in_force"}, ...]}``, the latest first."""
    return _encode({"alerts": [dict(each) for each in held]})


def cleared_body(*, user: str, lifted: Iterable[str]) -> bytes:
    """What was lifted from somebody."""
    return _encode({"user": user, "lifted": list(lifted)})


def receipt_body(members: Mapping[str, object]) -> bytes:
    """What was revoked or restored, what goes on all the same, and who has not confirmed it."""
    return _encode(members)


def _text(members: Mapping[str, object], name: str) -> str | None:
    if name not in members:
        return None
    value = members[name]
    # Names of principals, roles and passes are ASCII here, which also keeps out lone surrogates (RFC 8259, section 8.2).
    if not (isinstance(value, str) and len(value) <= TEXT_LENGTH_MAX and value.isascii() and value.isprintable()):
        raise ValueError(f'"{name}" must be a string of at most {TEXT_LENGTH_MAX} printable ASCII characters.')
    return value


def _flag(members: Mapping[str, object], name: str) -> bool:
    value = members.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f'"{name}" must be true or false.')  # noqa: TRY004  one kind of error for one kind of fault
    return value
