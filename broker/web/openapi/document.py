"""The document itself, OpenAPI 3.1, the same for everybody and of this version of the broker; made once."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from aiohttp import web

from broker import __version__, wire
from broker.web.openapi.operations import OPERATIONS, Operation
from broker.web.openapi.schemas import ID, ROLE, SCHEMAS, TEXT, Schema, ref

PATH = "/openapi.json"
_CHANGING = ("POST", "PUT", "DELETE")
# What else a secret's address can show.
_FURTHER = {
    "SecretOrMetadata": {"anyOf": [ref("Secret"), ref("SecretMetadata")]},
    "Text": {"type": "string"},
}
_IN_PATHS: dict[str, Schema] = {"role": ROLE, "id": ID, "path": TEXT}
_NAMED = re.compile(r"\{(\w+)\}")
_MARK = {
    "name": wire.REQUEST_HEADER,
    "in": "header",
    "required": True,
    "description": "No page of another origin can set it.",
    "schema": {"const": wire.REQUEST_HEADER_VALUE},
}
_SECURITY: dict[str, dict[str, str]] = {
    "negotiate": {"type": "http", "scheme": "negotiate", "description": "A Kerberos ticket (RFC 4559)."},
    "session": {
        "type": "http",
        "scheme": "dpop",
        "description": "A session's token, with a proof as `DPoP` (RFC 9449).",
    },
    "cookie": {"type": "apiKey", "in": "cookie", "name": wire.SESSION_COOKIE, "description": "A browser's session."},
    "pass": {"type": "http", "scheme": "bearer", "description": "A job pass; SDKs send it as the whole header."},
}


async def serve(_: web.Request) -> web.Response:
    """``GET /openapi.json``."""
    return web.Response(body=_encoded(), content_type=wire.JSON)


@cache
def _encoded() -> bytes:
    return json.dumps(document(), separators=(",", ":")).encode("ascii")


def document() -> dict[str, Any]:
    """OpenAPI 3.1: https://spec.openapis.org/oas/v3.1.1.html."""
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in OPERATIONS.items():
        described = paths.setdefault(path, _shared(path))
        described[method.lower()] = _described(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "ZeroTrustKerberosLink", "version": __version__},
        "paths": paths,
        "components": {"schemas": {**SCHEMAS, **_FURTHER}, "securitySchemes": _SECURITY},
    }


def _shared(path: str) -> dict[str, Any]:
    names = _NAMED.findall(path)
    found = [{"name": name, "in": "path", "required": True, "schema": _IN_PATHS[name]} for name in names]
    return {"parameters": found} if found else {}


def _described(method: str, path: str, operation: Operation) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()
    ]
    found: dict[str, Any] = {
        "operationId": _identifier(method, path),
        "summary": operation.summary,
        "parameters": parameters + ([_MARK] if method in _CHANGING else []),
        "responses": _responses(operation),
        # Without a scheme nobody need show anything.
        "security": [{scheme: []} for scheme in operation.by],
    }
    if operation.takes is not None:
        found["requestBody"] = {"required": not operation.is_optional, "content": _content(operation.takes)}
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    refused = {"description": "Refused; `hint` says what to do.", "content": _content("Problem", wire.PROBLEM_JSON)}
    if operation.gives is None:
        return {"204": {"description": "Done."}, "default": refused}
    given = {"description": "Here it is.", "content": _content(operation.gives, operation.media)}
    return {str(operation.status): given, "default": refused}


def _content(schema: str, media: str = wire.JSON) -> dict[str, Any]:
    return {media: {"schema": ref(schema)}}


def _identifier(method: str, path: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", path.removeprefix("/v1"))
    return "_".join([method.lower(), *words])
