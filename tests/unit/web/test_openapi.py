"""The described surface is the surface: every route is there, the document is valid, and the parsers agree with its schemas."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from broker import wire, wire_elevation, wire_operators, wire_secrets
from broker.web import app
from broker.web.openapi import document as openapi
from broker.web.openapi.operations import OPERATIONS
from broker.web.openapi.schemas import SCHEMAS

DOCUMENT = openapi.document()
# Issued at some keyless set-ups alone, in a form that is AWS's; and what is for people.
OF_OTHERS = re.compile(r"/(page|icon|signed-out|setup|welcome)|/$")


def routes() -> set[tuple[str, str]]:
    """What the application answers, its patterns in the document's way of writing."""

    async def nothing(_: web.Request) -> web.Response:
        return web.Response()

    health = SimpleNamespace(
        alive=nothing, ready=nothing, metrics=nothing, document=nothing, documents={"/.well-known/jwks.json": None}
    )
    parts: dict[str, Any] = dict.fromkeys(inspect.signature(app.build).parameters)
    made = app.build(**{**parts, "health": health, "hostnames": frozenset()})
    return {
        (route.method, re.sub(r"\{(\w+):[^{}]*(\{\d+\})?[^{}]*\}", r"{\1}", route.resource.canonical))
        for route in made.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


def test_every_route_for_programs_is_described_and_nothing_else() -> None:
    ours = {(method, path) for method, path in routes() if path.startswith(("/v1/", "/.well-known")) or "." in path}
    ours |= {(method, path) for method, path in routes() if path in ("/healthz", "/readyz", "/metrics")}
    assert {one for one in ours if not OF_OTHERS.search(one[1])} == set(OPERATIONS)


def test_the_document_is_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    methods = ("get", "post", "put", "delete")
    operations = [path[method] for path in DOCUMENT["paths"].values() for method in methods if method in path]
    identifiers = [operation["operationId"] for operation in operations]
    assert len(identifiers) == len(set(identifiers)) == len(OPERATIONS)


def test_every_schema_is_used_and_every_code_of_a_problem_is_in_it() -> None:
    text = json.dumps(DOCUMENT)
    assert [name for name in SCHEMAS if f'"#/components/schemas/{name}"' not in text] == []
    assert set(SCHEMAS["Problem"]["properties"]["code"]["enum"]) == set(wire.PROBLEM_CODES)


def test_what_changes_something_asks_for_the_header_that_no_foreign_page_can_set() -> None:
    for path, described in DOCUMENT["paths"].items():
        for method in ("get", "post", "put", "delete"):
            names = [one["name"] for one in described.get(method, {}).get("parameters", ())]
            assert (wire.REQUEST_HEADER in names) == (method != "get" and method in described), (method, path)


Parse = Callable[[bytes], Any]
PARSERS: dict[str, Parse] = {
    "CredentialsRequest": wire.parse_credentials_request,
    "ConsoleRequest": wire.parse_console_request,
    "PassRequest": wire.parse_pass_request,
    "Attenuation": wire.parse_attenuation,
    "ElevationRequest": wire_elevation.parse_elevation_request,
    "Denial": wire_elevation.parse_denial,
    "Closing": wire_elevation.parse_closing,
    "PassCancellation": wire_operators.parse_pass_cancellation,
    "Restoration": wire_operators.parse_restoration,
    "NotificationTest": wire_operators.parse_notification_test,
    "Clearing": wire_operators.parse_clearing,
    "Rotation": wire_operators.parse_rotation,
    "SecretWriting": wire_secrets.parse_writing,
    "SecretVersions": wire_secrets.parse_versions,
}
GOOD: dict[str, Any] = {
    "role": "developer",
    "scope": "readonly",
    "reason": "CHG-1",
    "destination": "https://console.aws.amazon.com/s3",
    "networks": ["10.0.0.0/8"],
    "lifetime": "8h",
    "duration": "30m",
    "break_glass": True,
    "id": "0" * 32,
    "note": "looked at",
    "user": "alice@R",
    "aws": True,
    "channel": "mail",
    "what": "data",
    "fields": {"value": "v"},
    "generate": {"token": {"kind": "hex", "length": 16}},
    "cas": 1,
    "metadata": {"contact": "team", "rotate_every": "90d"},
    "versions": [1, 2],
}
BAD: tuple[Any, ...] = (None, 7, -1, True, "", [], {}, ["x", 1], {"x": 1}, "x" * 5000, "\n")


def is_parsed(parse: Parse, body: Any) -> bool:
    try:
        parse(json.dumps(body).encode())
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", PARSERS)
def test_what_a_parser_takes_its_schema_takes_and_what_no_parser_takes_no_schema_does(name: str) -> None:
    parse, schema = PARSERS[name], SCHEMAS[name]
    validator = Draft202012Validator(schema)
    whole = {member: GOOD[member] for member in schema["properties"]}
    assert is_parsed(parse, whole)
    assert validator.is_valid(whole)
    for member in whole:
        fewer = {other: value for other, value in whole.items() if other != member}
        assert is_parsed(parse, fewer) == validator.is_valid(fewer), f"without {member}"
        for value in BAD:
            bent = {**whole, member: value}
            if validator.is_valid(bent) and _is_finer(value):
                continue
            assert is_parsed(parse, bent) == validator.is_valid(bent), (member, value)
    assert not is_parsed(parse, {**whole, "more": 1})
    assert not validator.is_valid({**whole, "more": 1})


def _is_finer(value: Any) -> bool:
    """What a parser knows better than a schema can say: printable characters, what a field or label is called."""
    return isinstance(value, str | dict)
