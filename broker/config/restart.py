"""What a running broker does not take over from a changed configuration, told by comparing two without keeping either."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from broker.config.model import Settings
from broker.core.secret import Secret

# The policy, which has a fingerprint of its own; with what only its roles are made of.
_POLICY = ("role_entries", "rules", "secrets.rules", "aws.account_aliases", "aws.production_accounts")
# Who may ask at all: taken over while the broker runs, as the policy is.
ADMISSION = frozenset(
    {
        "server.rate_limit",
        "server.allowed_networks",
        "server.trusted_proxies",
        "admin.principals",
        "admin.require",
    }
)


def digests(settings: Settings) -> dict[str, str]:
    """A digest of the value of each key beside the policy, such as ``server.listen``; secrets in it stay in it."""
    found: dict[str, str] = {}
    for section, value in _members(settings):
        if section in _POLICY:
            continue
        if isinstance(value, BaseModel):
            keys = ((f"{section}.{key}", inner) for key, inner in _members(value))
            found |= {key: _digest(inner) for key, inner in keys if key not in _POLICY}
        else:
            found[section] = _digest(value)
    return found


def fingerprint(found: Mapping[str, str], *, policy: str, key: bytes) -> str:
    """Identifies a whole configuration by its ``digests`` and the policy's.

    It stands in records, and a PIN of six digits in what it is made of: without the ``key`` nobody can try which one it was.
    """
    whole = repr((sorted(found.items()), policy))
    return hmac.new(key, whole.encode(), hashlib.sha256).hexdigest()


def differing(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The keys whose values differ; of a section that came or went, all its keys."""
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key) and not _is_absence(key, old, new))


def _is_absence(key: str, old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """A section that is absent in one has a digest of its own there, and says nothing beside its keys."""
    return "." not in key and any(other.startswith(f"{key}.") for other in (*old, *new))


def _members(model: BaseModel) -> Iterator[tuple[str, object]]:
    for name in type(model).model_fields:
        yield name, getattr(model, name)


def _digest(value: object) -> str:
    return hashlib.sha256(repr(_plain(value)).encode("utf-8", "surrogateescape")).hexdigest()


def _plain(value: object) -> object:
    """Texts, tuples and numbers only, in an order that is the same in every process."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, BaseModel):
        return tuple((name, _plain(inner)) for name, inner in _members(value))
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), _plain(inner)) for key, inner in value.items()))
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    if isinstance(value, frozenset | set):
        return tuple(sorted(map(str, value)))
    return str(value)
