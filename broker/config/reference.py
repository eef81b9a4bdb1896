"""The reference of all keys, made from the model: Markdown for people, JSON Schema for editors.

``python -m broker.config.reference > docs/configuration.md`` writes the page that a test compares with this code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from broker.config.elevation import SwitchOrText
from broker.config.fields import FILE, SECRET, Kind, Shape, elsewhere_keys, keys, leaves, shape
from broker.config.model import Settings
from broker.config.resolve import COMMAND_PATIENCE_SECONDS, PATIENCE_SECONDS
from broker.config.sessions import Document
from broker.config.values import ONE_OR_MANY, duration_text

EXAMPLE = """\
server:
  listen: ["https://0.0.0.0:8443", "unix:/run/zerotrust/broker.sock"]
  hostnames: [broker.example.com]
tls:
  certificate: /etc/zerotrust/tls/server.crt
  private_key: /etc/zerotrust/tls/server.key
kerberos:
  keytabs: [/etc/zerotrust/keytabs]
  realms: {EXAMPLE.COM: {}}
aws:
  region: eu-central-1
  allowed_accounts: ["111122223333", "999900001111"]
roles:
  developer:
    chain:
      - {arn: "arn:aws:iam::999900001111:role/BrokerHub", external_id: hub-7f3a}
      - {arn: "arn:aws:iam::111122223333:role/Developer", external_id_file: /etc/zerotrust/secrets/dev-external-id}
    duration: 1h
rules:
  - name: engineers
    principals: ["alice@EXAMPLE.COM", "*/admin@EXAMPLE.COM"]
    roles: [developer]
redis: {url: "rediss://broker@redis.example.com:6379/0", password_file: /etc/zerotrust/secrets/redis_password}
encryption: {key_file: /etc/zerotrust/secrets/encryption_key}
audit: {directory: /var/log/zerotrust/audit}
admin: {socket: /run/zerotrust/admin.sock, principals: ["root/admin@EXAMPLE.COM"]}
"""

_INTRODUCTION = f"""\
# Configuration

One YAML file, by default `/etc/zerotrust/config.yaml`. `zerotrust-broker check-config --config FILE` names every fault at
once, each with its line and its fix, and ends with 78 if there is one; the broker itself does not start then.

```yaml
{EXAMPLE}```

## Where a value can come from

The last of these that has a value wins:

1. `KEY` in the file; or `KEY_file`, which names a file with the value (one newline at its end is dropped); or `KEY_secret`,
   which says where in the vault the value stands. Two of them together are an error. A whole value of the form `${{NAME}}` is
   replaced by that environment variable.
2. The systemd credential (`LoadCredential=`) that has the dotted key as its name, such as `redis.password`. For a key that
   is itself a path the credential's own path is taken.
3. The environment variable in the tables below; lists separated by commas, or like mappings as YAML. `..._FILE` names a
   file with the value, `..._SECRET` its place in the vault.

`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` are read where none of these speaks. Keys that are paths,
numbers, or yes or no have no `_file` and no `_secret`. A variable that begins like a section (`ZEROTRUST_REDIS_...`) and fits no
key is an error.

## Values in the vault

`redis: {{password_secret: "zerotrust/redis#password"}}` is the field `password` of the secret `zerotrust/redis` in the vault of
the section `secrets`. `#FIELD` may be left out where the secret has one field, or one called `value`. All references are
read once, at the start and at each reload, within {PATIENCE_SECONDS} seconds, and by `check-config` within
{COMMAND_PATIENCE_SECONDS}. What leads to
the vault cannot stand in it: `secrets.*`, and with the provider `integrated` `encryption.*`, `state.*` or `redis.*`. AWS Secrets
Manager is asked with the credentials of the section `aws` (`environment`, `file`, `profile` or `default`), so what signs cannot
stand there. A secret that is not there, or has not this key's form, is an error like any other (78); a vault that does not
answer ends with 75, and
systemd starts again. Commands that work offline ask the vault for nothing but what they use, mostly nothing.

## Values that are sealed

`zerotrust-admin encrypt-value redis.password < FILE` prints `enc:v1:...`, to be written behind that key: in the file, in a
file of its own, or in the environment. It opens with this `encryption.key` (or one that it followed) and at this key alone, so
that nobody can move it elsewhere. `encryption.*` cannot be sealed.

## Permissions

The configuration, private keys, keytabs and all `_file` files must belong to root or to the broker's account, be no
symbolic links, and give others no access; what belongs to root may be readable (not writable) by the group.

## Notation

Durations have a unit: `900s`, `30m`, `1h`. Account numbers need quotes, for YAML would drop their leading zeros. Paths are
absolute. Anchors, aliases, tags, duplicate and unknown keys, and keys without a value are errors.
"""

_ELSEWHERE = {FILE: "A file that holds", SECRET: "PATH#FIELD: the secret of the vault that holds"}
# In YAML; in the environment everything is text. The others are written as text.
_TYPES: Mapping[type, str | list[str]] = {bool: "boolean", int: ["integer", "string"]}


def schema() -> dict[str, Any]:
    """The file's form as JSON Schema 2020-12: keys, nesting and choices. What it accepts, ``load()`` may still refuse."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    # Nothing is required: any key outside lists and mappings may come from another source.
    return {"$schema": dialect, "title": "zerotrust-broker", **_object(Settings, in_entry=False)}


def page() -> str:
    """docs/configuration.md."""
    variables = {leaf.path: leaf.variable for leaf in leaves(Settings)}
    return _INTRODUCTION + "".join(_chapters(Settings, (), variables))


def _object(model: type[BaseModel], *, in_entry: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    demands: list[dict[str, Any]] = []
    for key, info in keys(model):
        inner = shape(info)
        properties[key] = _value(info, inner, in_entry=in_entry)
        names = [key]
        for variant in elsewhere_keys(model, key) if inner.comes_from_elsewhere else ():
            names.append(variant)
            properties[variant] = {"type": "string", "description": f"{_ELSEWHERE[variant.removeprefix(key)]} `{key}`."}
        if in_entry and info.is_required():
            demands.append({"anyOf": [{"required": [name]} for name in names]})
    found = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "allOf": demands} if demands else found


def _value(info: FieldInfo, inner: Shape, *, in_entry: bool) -> dict[str, Any]:
    description = {"description": info.description or (inner.model.__doc__ if inner.model else "")}
    if inner.kind is Kind.SECTION and inner.model:
        return {**description, **_object(inner.model, in_entry=in_entry)}
    entry = (
        _object(inner.model, in_entry=True)
        if inner.model
        else {"type": ["boolean", "string"]}
        if any(isinstance(mark, SwitchOrText) for mark in info.metadata)
        else {"type": _TYPES.get(inner.scalar or str, "string")}
    )
    if inner.kind is Kind.MAPPING:
        return {**description, "type": "object", "additionalProperties": entry}
    if inner.kind is Kind.LIST:
        many = {"type": "array", "items": entry}
        return {**description, **({"anyOf": [many, entry]} if ONE_OR_MANY in info.metadata else many)}
    if any(isinstance(mark, Document) for mark in info.metadata):
        return {**description, "type": ["object", "string"]}
    if inner.choices:
        return {**description, "anyOf": [{"enum": list(inner.choices)}, {"pattern": r"^\$\{\w+\}$"}]}
    return {**description, **entry}


def _chapters(model: type[BaseModel], path: tuple[str, ...], variables: dict[tuple[str, ...], str]) -> Iterator[str]:
    """This mapping's own table, then those of the mappings inside it."""
    rows = [(key, info, shape(info)) for key, info in keys(model)]
    plain = [(key, info) for key, info, inner in rows if inner.kind is not Kind.SECTION]
    if path:
        whole = f" In the environment: `{variables[path[:1]]}`." if path[:1] in variables else ""
        yield f"\n## `{'.'.join(path).replace('.[]', '[]')}`\n\n{model.__doc__}{whole}\n"
    if path and plain:
        yield "\n| key | default | environment | meaning |\n|---|---|---|---|\n"
        for key, info in plain:
            variable = variables.get((*path, key))
            cells = (f"`{key}`", _default(info), f"`{variable}`" if variable else "", info.description or "")
            yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"
    for key, _info, inner in rows:
        step = {Kind.MAPPING: (key, "NAME"), Kind.LIST: (key, "[]")}.get(inner.kind, (key,))
        if inner.model and inner.model.model_fields:
            yield from _chapters(inner.model, (*path, *step), variables)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    default = info.default
    if isinstance(default, bool | int):
        return f"`{str(default).lower()}`"
    if isinstance(default, timedelta):
        return f"`{duration_text(default)}`"
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default)
    return f"`{default}`" if isinstance(default, str) else ""


if __name__ == "__main__":
    sys.stdout.write(page())
