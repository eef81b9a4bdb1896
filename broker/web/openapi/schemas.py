"""The bodies as JSON Schema 2020-12. The parsers of ``wire`` decide; tests hold what stands here against them.

What is sent to us has no members that are not named, and is marked so; answers may get further members in later versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker import wire, wire_elevation, wire_operators, wire_secrets
from broker.core.roles import ROLE_NAME
from broker.core.scope import SCOPE_NAME

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "integer"}
TIME: Schema = {"type": "string", "format": "date-time"}
MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
URL: Schema = {"type": "string", "format": "uri"}
ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
ACCOUNT: Schema = {"type": "string", "pattern": "^[0-9]{12}$"}
DURATION: Schema = {"type": "string", "pattern": "^[0-9]{1,6}[smhd]$"}
REASON: Schema = {"type": "string", "minLength": 1, "maxLength": wire.REASON_LENGTH_MAX}
PRINCIPAL: Schema = {"type": "string", "maxLength": wire_operators.TEXT_LENGTH_MAX}
ROLE: Schema = {"type": "string", "pattern": f"^{ROLE_NAME.pattern}$"}
SCOPE: Schema = {"type": "string", "pattern": f"^{SCOPE_NAME.pattern}$"}
NETWORKS: Schema = {"type": "array", "items": TEXT, "minItems": 1, "maxItems": wire.NETWORKS_MAX}


def of(*optional: str, **members: Schema) -> Schema:
    """An answer: an object with at least these members, but for those that are ``optional``."""
    required = [name for name in members if name not in optional]
    return {"type": "object", "properties": members, "required": required}


def sent(*optional: str, **members: Schema) -> Schema:
    """What is sent to us: the same, and nothing else."""
    return of(*optional, **members) | {"additionalProperties": False}


def any_of(words: tuple[str, ...]) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": list(words)}


def each(item: Schema) -> Schema:
    """A list of them."""
    return {"type": "array", "items": item}


def texts(values: Schema = TEXT) -> Schema:
    """An object with members of any name."""
    return {"type": "object", "additionalProperties": values}


def ref(name: str) -> Schema:
    """One of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


NEEDS = each(any_of(("reason", "approval", "break_glass")))
_STAMP: Schema = {"oneOf": [{"type": "null"}, of(at=TIME, by=TEXT, **{"with": TEXT})]}
_STEP_UP = of(indicators=each(TEXT), max_ticket_age={"type": ["integer", "null"]}, channel_binding=FLAG)
_PROSPECT: Mapping[str, Schema] = {
    "verdict": any_of(("allowed", "step_up", "approval", "denied", "unknown")),
    "hint": TEXT,
    "needs": NEEDS,
    "account": ACCOUNT,
    "role_arn": TEXT,
    "step_up": _STEP_UP,
}
_METADATA: Mapping[str, Schema] = {
    "contact": TEXT,
    "purpose": TEXT,
    "type": TEXT,
    "rotate_every": {"oneOf": [{"type": "null"}, DURATION]},
    "expires": MAYBE_TIME,
    "versions_kept": {"type": "integer", "minimum": 0},
    "labels": texts(),
}
_RECIPE = sent(
    "kind",
    "length",
    "classes",
    "readable",
    kind=any_of(wire_secrets.KINDS),
    length={"type": "integer", "minimum": 0},
    classes=each(any_of(wire_secrets.CLASSES)),
    readable=FLAG,
)
_VERSIONS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 100}
_KEYS = of(master={"type": "object"}, keks=each(of()), kinds=texts(of()), instances=each(of()), faults=texts({}))

SCHEMAS: Mapping[str, Schema] = {
    "Problem": of(
        type={"type": "string", "format": "uri-reference"},
        title=TEXT,
        status=NUMBER,
        code=any_of(tuple(dict.fromkeys(wire.PROBLEM_CODES))),
        hint=TEXT,
        request_id=TEXT,
    ),
    "CredentialsRequest": sent("scope", "reason", role=ROLE, scope=SCOPE, reason=REASON),
    "Credentials": of(
        Version={"const": wire.VERSION},
        AccessKeyId=TEXT,
        SecretAccessKey=TEXT,
        SessionToken=TEXT,
        Token=TEXT,
        Expiration=TIME,
        AccountId=ACCOUNT,
        RoleArn=TEXT,
    ),
    "ConsoleRequest": sent(
        "scope",
        "destination",
        "reason",
        role=ROLE,
        scope=SCOPE,
        destination=URL | {"maxLength": wire.DESTINATION_LENGTH_MAX},
        reason=REASON,
    ),
    "Console": of(url=URL),
    "Roles": of(
        roles=each(
            of(
                "account_alias",
                name=ROLE,
                account=ACCOUNT,
                account_alias=TEXT,
                production=FLAG,
                role_arn=TEXT,
                scopes=each(SCOPE),
                needs=NEEDS,
            )
        )
    ),
    "Whoami": of(
        principal=TEXT,
        realm=TEXT,
        type=TEXT,
        ticket_ends=TIME,
        accounts=each(of("account_alias", account=ACCOUNT, account_alias=TEXT, production=FLAG)),
    ),
    "Prospect": of("account", "role_arn", "step_up", **_PROSPECT),
    "Prospects": of(roles=each(of("account", "role_arn", "step_up", role=ROLE, **_PROSPECT))),
    "Session": of(access_token=TEXT, token_type={"const": wire.DPOP}, expires_in=NUMBER),
    "Sessions": of(
        sessions=each(
            of(id=ID, kind=any_of(("browser", "program")), made=TIME, ends=TIME, address=MAYBE_TEXT, current=FLAG)
        ),
        complete=FLAG,
    ),
    "PassRequest": sent("networks", "lifetime", role=ROLE, networks=NETWORKS, lifetime=DURATION),
    "Attenuation": sent("networks", "lifetime", networks=NETWORKS, lifetime=DURATION) | {"minProperties": 1},
    "Pass": of(**{"pass": TEXT}, id=ID, role=ROLE, networks=each(TEXT), expires=TIME, renewable_until=TIME),
    "Passes": of(
        passes=each(
            of(
                id=ID,
                role=ROLE,
                networks=each(TEXT),
                made=TIME,
                expires=TIME,
                renewable_until=TIME,
                address=MAYBE_TEXT,
            )
        ),
        complete=FLAG,
    ),
    "Recents": of(
        recents=each(
            of(
                role=ROLE,
                scope=MAYBE_TEXT,
                how=any_of(("credentials", "console")),
                at=TIME,
                address=MAYBE_TEXT,
                via=any_of(("ticket", "cookie", "dpop", "job_pass")),
            )
        ),
        complete=FLAG,
    ),
    "ElevationRequest": sent(
        "scope",
        "duration",
        "break_glass",
        role=ROLE,
        scope=SCOPE,
        reason=REASON,
        duration=DURATION,
        break_glass=FLAG,
    ),
    "Denial": sent("reason", reason=REASON),
    "Elevation": of(
        id=ID,
        state=any_of(("pending", "open", "ended", "expired", "denied", "void")),
        user=TEXT,
        role=ROLE,
        scope=MAYBE_TEXT,
        reason=TEXT,
        asked=TIME,
        expires=TIME,
        duration=NUMBER,
        ends=MAYBE_TIME,
        needed=NUMBER,
        approvals=each(TEXT),
        break_glass=FLAG,
        mine=FLAG,
        may_decide=FLAG,
    ),
    "Elevations": of(requests=each(ref("Elevation"))),
    "Reviews": of(reviews=each(of())),
    "Closing": sent(id=ID | {"maxLength": wire_elevation.ID_LENGTH}, note=REASON),
    "Operator": of(
        principal=TEXT, realm=TEXT, ticket_ends=TIME, version=TEXT, signed_by=MAYBE_TEXT, signature_required=FLAG
    ),
    "PassCancellation": sent(user=PRINCIPAL, id=ID),
    "Revocation": sent(
        "user",
        "everybody",
        "role",
        "dry_run",
        "aws",
        what=any_of(("sessions", "credentials")),
        user=PRINCIPAL,
        everybody=FLAG,
        role=PRINCIPAL,
        dry_run=FLAG,
        aws=FLAG,
    ),
    "Restoration": sent("aws", user=PRINCIPAL, aws=FLAG),
    "Revocations": of(revocations=each(of())),
    "Receipt": of(
        user=MAYBE_TEXT,
        role=MAYBE_TEXT,
        dry_run=FLAG,
        at=TIME,
        stopped=each(TEXT),
        runs_on=each(TEXT),
        aws_until=MAYBE_TIME,
        told=FLAG,
        not_heard=each(TEXT),
        aws=each(of()),
    ),
    "NotificationTest": sent("channel", channel=PRINCIPAL),
    "Tried": of(tried=each(of(channel=TEXT, delivered=FLAG, said=TEXT))),
    "Alerts": of(alerts=each(of(user=TEXT, response=TEXT, at=TIME, by=TEXT, in_force=FLAG))),
    "Clearing": sent(user=PRINCIPAL),
    "Cleared": of(user=TEXT, lifted=each(TEXT)),
    "Keys": _KEYS,
    "Rotation": sent(what=any_of((*wire_operators.ROTATED, wire_operators.DUE))),
    "Rotated": _KEYS | {"properties": {**_KEYS["properties"], "done": each(TEXT)}},
    "Secrets": {"anyOf": [of(secrets=each(TEXT)), of(due=each(of(path=TEXT, since=TIME, contact=TEXT)))]},
    "Secret": of(path=TEXT, version=TEXT, fields=texts(), made=MAYBE_TIME, lease_ends=MAYBE_TIME),
    "SecretMetadata": of(
        path=TEXT,
        newest={"type": ["integer", "null"]},
        versions=each(of(version=NUMBER, made=_STAMP, deleted=_STAMP, destroyed=_STAMP)),
        **{**_METADATA, "rotate_every": {"type": ["integer", "null"]}},
        rotation_due=MAYBE_TIME,
        **dict.fromkeys(("created", "rotated", "annotated", "deleted", "archived", "used"), _STAMP),
    ),
    "SecretWriting": sent(
        "fields",
        "generate",
        "cas",
        "metadata",
        fields=texts(),
        generate=texts(_RECIPE),
        cas={"type": "integer", "minimum": 0},
        metadata=sent(*_METADATA, **_METADATA) | {"minProperties": 1},
    ),
    "SecretWritten": of(path=TEXT, version=TEXT),
    "SecretVersions": sent(versions=_VERSIONS),
    "SecretOrder": {
        "anyOf": [sent(*_METADATA, **_METADATA), sent("versions", versions=_VERSIONS), sent()],
    },
    "SecretDone": of(path=TEXT, done=TEXT),
    "Health": of(status=TEXT),
    "Readiness": of(
        status=any_of(("ok", "degraded", "draining")),
        dependencies=texts(of("reason", "code", "since", status=TEXT, reason=TEXT, code=TEXT, since=TEXT)),
    ),
    "Document": {"type": "object"},
}
