"""The chart's schema of values: what of it is the broker's configuration, taken from the broker.

``make docs`` writes it. So a misspelt key, or one that the chart sets by itself, is refused before anything reaches a cluster.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from broker.config.reference import schema

# Where things are in the container is the chart's affair.
_OF_THE_CHART = (
    ("server", "listen"),
    ("tls", "certificate"),
    ("tls", "private_key"),
    ("kerberos", "keytabs"),
    ("audit", "directory"),
    ("state", "directory"),
    ("admin", "socket"),
    ("encryption", "key_file"),
)
_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_KEY = r"^[-._a-zA-Z0-9]{1,253}$"
_QUANTITY = r"^[1-9][0-9]*(Mi|Gi|Ti)$"

_Schema = dict[str, Any]


def _object(required: tuple[str, ...] = (), **properties: _Schema) -> _Schema:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def _text(pattern: str | None = None) -> _Schema:
    return {"type": "string"} | ({"pattern": pattern} if pattern else {})


def _one_of(*values: str) -> _Schema:
    return {"enum": list(values)}


def _texts() -> _Schema:
    return {"type": "object", "additionalProperties": _text()}


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


# What Kubernetes itself has a schema for, and judges when it gets it.
_ANY_OBJECT: _Schema = {"type": "object"}
_PORT: _Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_BOOLEAN: _Schema = {"type": "boolean"}
_OPTIONAL_SECRET = _object((), existingSecret=_text(rf"^$|{_NAME}"))
_VOLUME = _object((), storageClass=_text(), size=_text(_QUANTITY))


def values_schema() -> _Schema:
    """JSON Schema, 2020-12."""
    found = _object(
        ("image", "keytab", "tls", "config"),
        image=_object(
            ("repository",),
            repository=_text(r"^[a-z0-9]([-a-z0-9._/:]*[a-z0-9])?$"),
            tag=_text(r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"),
            digest=_text(r"^(sha256:[0-9a-f]{64})?$"),
            pullPolicy=_one_of("Always", "IfNotPresent", "Never"),
        ),
        imagePullSecrets=_list(_object(("name",), name=_text(_NAME))),
        replicas={"type": "integer", "minimum": 1, "maximum": 100},
        config=_configuration(),
        keytab=_object(("existingSecret",), existingSecret=_text(_NAME), key=_text(_KEY)),
        tls=_object(("existingSecret",), existingSecret=_text(_NAME)),
        encryptionKey=_object((), existingSecret=_text(rf"^$|{_NAME}"), key=_text(_KEY)),
        files=_OPTIONAL_SECRET,
        environment=_OPTIONAL_SECRET,
        krb5=_text(),
        service=_object(
            (),
            type=_one_of("ClusterIP", "LoadBalancer", "NodePort"),
            port=_PORT,
            annotations=_texts(),
            loadBalancerSourceRanges=_list(_text()),
        ),
        serviceAccount=_object((), annotations=_texts(), mountToken=_BOOLEAN),
        audit=_VOLUME,
        state=_VOLUME,
        networkPolicy=_object(
            (),
            enabled=_BOOLEAN,
            instanceMetadata=_BOOLEAN,
            **{"from": _list(_ANY_OBJECT), "egress": _list(_ANY_OBJECT)},
        ),
        resources=_object((), requests=_ANY_OBJECT, limits=_ANY_OBJECT),
        nodeSelector=_texts(),
        tolerations=_list(_ANY_OBJECT),
        priorityClassName=_text(),
        podAnnotations=_texts(),
    )
    # Helm gives every chart this one.
    found["properties"]["global"] = _ANY_OBJECT
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _configuration() -> _Schema:
    whole = schema()
    for section, key in _OF_THE_CHART:
        found = whole["properties"][section]
        del found["properties"][key]
        if key in found.get("required", ()):
            found["required"].remove(key)
    required = set(whole.get("required", ())) - {section for section, _ in _OF_THE_CHART}
    made: _Schema = _without_prose({**whole, "minProperties": 1, "required": sorted(required)})
    return made


def _without_prose(node: Any) -> Any:
    """The descriptions are in docs/configuration.md, and a release carries its schema about."""
    if isinstance(node, list):
        return [_without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _without_prose(inner) for name, inner in value.items()}
        if key in ("properties", "patternProperties")
        else _without_prose(value)
        for key, value in node.items()
        if not (key in ("description", "title", "$schema") and isinstance(value, str))
    }


if __name__ == "__main__":
    json.dump(values_schema(), sys.stdout, indent=1)
    sys.stdout.write("\n")
