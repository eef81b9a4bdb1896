"""What each route takes and gives: one row a method and path, in the words of ``SCHEMAS``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker import wire, wire_elevation, wire_operators, wire_secrets, wire_standing
from broker.web.openapi.schemas import FLAG, REASON, SCOPE, TEXT, Schema

# Who may ask: by a ticket or any session; by a ticket alone, as operators always; without a cookie; by what no browser sends by
# itself; by a pass alone; anybody.
KNOWN = ("negotiate", "session", "cookie")
TICKET = ("negotiate",)
OF_PROGRAMS = ("negotiate", "session")
WANTED = ("session", "pass")
HOLDER = ("pass",)
ANYBODY: tuple[str, ...] = ()

_SESSION, _PASS = f"{wire.SESSIONS_PATH}/{{id}}", f"{wire.PASSES_PATH}/{{id}}"
_REQUEST = f"{wire.REQUESTS_PATH}/{{id}}"
_SECRET = f"{wire_secrets.PREFIX}{{path}}"
_REASON: Mapping[str, Schema] = {"reason": REASON}


@dataclass(frozen=True, slots=True)
class Operation:
    """``gives`` None is 204; a body that may be left out is ``is_optional``; ``media`` is what comes where it is not JSON."""

    summary: str
    by: tuple[str, ...]
    gives: str | None = None
    takes: str | None = None
    query: Mapping[str, Schema] = field(default_factory=dict)
    status: int = 200
    is_optional: bool = False
    media: str = wire.JSON


_DPOP_OR_COOKIE = "A session: a token where a DPoP proof is sent, else a cookie and no body (204)"

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", wire.CREDENTIALS_PATH): Operation(
        "Credentials of a role", (*KNOWN, "pass"), "Credentials", "CredentialsRequest"
    ),
    ("GET", f"{wire.CONTAINER_PATH}/{{role}}"): Operation(
        "The same for the container provider of AWS SDKs", WANTED, "Credentials", query={"scope": SCOPE, **_REASON}
    ),
    ("POST", wire.CONSOLE_PATH): Operation("A URL that opens the AWS console", KNOWN, "Console", "ConsoleRequest"),
    ("GET", wire.ROLES_PATH): Operation("The roles that the caller may have", KNOWN, "Roles"),
    ("GET", wire.WHOAMI_PATH): Operation("Who the caller is to the broker", KNOWN, "Whoami"),
    ("GET", wire.EXPLAIN_PATH): Operation("What stands before each of the caller's roles", KNOWN, "Prospects"),
    ("GET", f"{wire.EXPLAIN_PATH}/{{role}}"): Operation("What stands before one role", KNOWN, "Prospect"),
    ("GET", wire_standing.RECENTS_PATH): Operation("What the caller used lately", KNOWN, "Recents"),
    ("GET", wire.SESSIONS_PATH): Operation("The caller's sessions", KNOWN, "Sessions"),
    ("POST", wire.SESSIONS_PATH): Operation(_DPOP_OR_COOKIE, TICKET, "Session"),
    ("POST", wire_standing.END_ALL_PATH): Operation("End all of the caller's sessions and job passes", KNOWN),
    ("DELETE", wire.CURRENT_SESSION_PATH): Operation("End the session that is shown", ("session", "cookie")),
    ("DELETE", _SESSION): Operation("End one of the caller's sessions", KNOWN),
    ("GET", wire.PASSES_PATH): Operation("The caller's job passes", KNOWN, "Passes"),
    ("POST", wire.PASSES_PATH): Operation("A job pass", TICKET, "Pass", "PassRequest"),
    ("POST", f"{wire.PASSES_PATH}/current/renew"): Operation("The same pass, for longer", HOLDER, "Pass"),
    ("POST", f"{wire.PASSES_PATH}/current/attenuate"): Operation(
        "Another pass, for less", HOLDER, "Pass", "Attenuation"
    ),
    ("DELETE", f"{wire.PASSES_PATH}/current"): Operation("End the pass that is shown", HOLDER),
    ("DELETE", _PASS): Operation("End one of the caller's passes", KNOWN),
    ("POST", wire.REQUESTS_PATH): Operation(
        "Ask others for a time box, or break the glass", KNOWN, "Elevation", "ElevationRequest", status=201
    ),
    ("GET", wire.REQUESTS_PATH): Operation("The caller's requests, and those they may approve", KNOWN, "Elevations"),
    ("GET", _REQUEST): Operation("One of them", KNOWN, "Elevation"),
    ("POST", f"{_REQUEST}/approve"): Operation("Approve it", KNOWN, "Elevation"),
    ("POST", f"{_REQUEST}/deny"): Operation("End it", KNOWN, "Elevation", "Denial", is_optional=True),
    ("GET", wire_elevation.REVIEWS_PATH): Operation("What was broken open", TICKET, "Reviews"),
    ("POST", wire_elevation.CLOSE_PATH): Operation("Close a review", TICKET, "Document", "Closing"),
    ("GET", wire_operators.WHOAMI_PATH): Operation("Who an operator is", TICKET, "Operator"),
    ("POST", wire_operators.CANCEL_PATH): Operation("End somebody's job pass", TICKET, "Document", "PassCancellation"),
    ("GET", wire_operators.REVOCATIONS_PATH): Operation("What is revoked", TICKET, "Revocations"),
    ("POST", wire_operators.REVOCATIONS_PATH): Operation(
        "Revoke sessions or credentials", TICKET, "Receipt", "Revocation"
    ),
    ("POST", wire_operators.RESTORE_PATH): Operation("Give again", TICKET, "Receipt", "Restoration"),
    ("POST", wire_operators.NOTIFICATION_TEST_PATH): Operation("Try the channels", TICKET, "Tried", "NotificationTest"),
    ("GET", wire_operators.ALERTS_PATH): Operation("What the watch holds", TICKET, "Alerts"),
    ("POST", wire_operators.CLEAR_PATH): Operation("Give it back", TICKET, "Cleared", "Clearing"),
    ("GET", wire_operators.KEYS_PATH): Operation("Which keys there are", TICKET, "Keys"),
    ("POST", wire_operators.ROTATE_PATH): Operation("Let another follow", TICKET, "Rotated", "Rotation"),
    ("GET", wire_secrets.SECRETS_PATH): Operation(
        "The paths of secrets, or those due for rotation",
        OF_PROGRAMS,
        "Secrets",
        query={"prefix": TEXT, "due": FLAG, **_REASON},
    ),
    ("GET", _SECRET): Operation(
        "A secret; behind /versions what is known of it. A path may have slashes, which are written as they are",
        OF_PROGRAMS,
        "SecretOrMetadata",
        query={"version": TEXT, **_REASON},
    ),
    ("PUT", _SECRET): Operation("A new version", OF_PROGRAMS, "SecretWritten", "SecretWriting", query=_REASON),
    ("DELETE", _SECRET): Operation(
        "Delete the newest version, or those named",
        OF_PROGRAMS,
        "SecretDone",
        "SecretVersions",
        query=_REASON,
        is_optional=True,
    ),
    ("POST", _SECRET): Operation(
        f"Behind a colon: {', '.join(wire_secrets.VERBS)}",
        OF_PROGRAMS,
        "SecretDone",
        "SecretOrder",
        query=_REASON,
        is_optional=True,
    ),
    ("GET", "/healthz"): Operation("Whether the broker is alive", ANYBODY, "Health"),
    ("GET", "/readyz"): Operation("How each dependency is; 503 where nothing can be handed out", ANYBODY, "Readiness"),
    ("GET", "/metrics"): Operation("For Prometheus", ANYBODY, "Text", media="text/plain"),
    ("GET", "/.well-known/jwks.json"): Operation("The keys that verify the audit log", ANYBODY, "Document"),
    ("GET", "/openapi.json"): Operation("This document", ANYBODY, "Document"),
}
