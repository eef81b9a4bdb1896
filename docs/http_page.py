"""``docs/reference/http.md``: the routes, of what ``GET /openapi.json`` says."""

from __future__ import annotations

from broker.web.openapi.operations import OPERATIONS, Operation
from broker.web.openapi.schemas import SCHEMAS, Schema
from docs.markdown import sentence

_INTRODUCTION = """\
# HTTP

What the broker serves; `GET /openapi.json` gives the same to programs, with every body as JSON Schema. JSON in, JSON out, UTF-8.
POST, PUT and DELETE below `/v1` need the header `X-Zerotrust-Request: 1`. An error is a problem document whose `type` leads to
[its page](../failures/README.md).

`negotiate` is a Kerberos ticket (RFC 4559), `session` a token with a DPoP proof (RFC 9449), `cookie` a browser's session,
`pass` a job pass. Where nothing is named, nobody has to show anything.

| route | what | by | takes | gives |
|---|---|---|---|---|
"""


def page() -> str:
    """The file."""
    rows = (_row(method, path, operation) for (method, path), operation in OPERATIONS.items())
    return _INTRODUCTION + "\n".join(rows) + "\n\n## Bodies\n\n" + "\n\n".join(_body(name) for name in SCHEMAS) + "\n"


def _row(method: str, path: str, operation: Operation) -> str:
    gives = f"{operation.status} {_named(operation.gives)}" if operation.gives else "204"
    query = f" (query: {', '.join(f'`{name}`' for name in operation.query)})" if operation.query else ""
    takes = f"{_named(operation.takes)}{', optional' if operation.is_optional else ''}" if operation.takes else ""
    by = ", ".join(f"`{one}`" for one in operation.by)
    return f"| `{method} {path}` | {sentence(operation.summary)}{query} | {by} | {takes} | {gives} |"


def _named(schema: str) -> str:
    return f"[{schema}](#{schema.lower()})" if schema in SCHEMAS else schema


def _body(name: str) -> str:
    schema = SCHEMAS[name]
    required = set(schema.get("required", ()))
    rows = [
        f"| `{member}` | {_kind(found)} | {'' if member in required else 'optional'} |"
        for member, found in schema.get("properties", {}).items()
    ]
    if not rows:
        return f"### {name}\n\n{_kind(schema)}"
    return "\n".join([f"### {name}", "", "| member | is | |", "|---|---|---|", *rows])


def _kind(schema: Schema) -> str:
    if "$ref" in schema:
        return _named(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return " or ".join(_kind(one) for one in schema[word])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    kinds = schema.get("type", "anything")
    text = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    return f"{text} ({schema['format']})" if "format" in schema else text
