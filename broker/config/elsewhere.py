"""What a key must agree with in another section, given to the validators as pydantic's context.

It is read from the tree before validation, so that a fault in one section hides none in another. None means that the
other section is itself too broken to compare with; then only its own fault is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationInfo

from broker.config.tree import Tree, Value
from broker.core import tags
from broker.core.partition import partition_of
from broker.core.tags import Placeholder

# An IAM user's access key; ASIA... are temporary, and a call with one of a role is a chained one.
_LONG_TERM = "AKIA"
_WEB_IDENTITY = "web_identity"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Names and facts of the whole configuration.

    ``long_term_keys``: whether the first call of a chain is no chained one: signed by an IAM user, or by nobody
    (``keyless``). ``lengths``: how long the placeholders of tags can become. ``signs``: whether the reader asks AWS anything.
    """

    has_tls: bool
    has_redis: bool
    has_external_ids: bool
    realms: frozenset[str] | None
    directories: frozenset[str] | None
    domains: Counter[str]
    roles: frozenset[str] | None
    accounts: frozenset[str] | None
    rule_names: Counter[str]
    partition: str | None
    long_term_keys: bool | None
    keyless: bool
    lengths: Mapping[Placeholder, int]
    signs: bool

    @classmethod
    def of(cls, tree: Tree, *, signs: bool) -> Elsewhere:
        """Drawn from a tree that nobody has validated yet."""
        kerberos, aws = _mapping(tree.data.get("kerberos")), _mapping(tree.data.get("aws"))
        realms, rules = kerberos.get("realms"), tree.data.get("rules")
        entries = [_mapping(rule) for rule in rules] if isinstance(rules, tuple) else []
        rule_names = Counter(name for rule in entries if isinstance(name := rule.get("name"), str))
        roles, region = tree.data.get("roles", {}), aws.get("region")
        accounts = aws.get("allowed_accounts")
        return cls(
            has_tls="tls" in tree.data,
            has_redis="redis" in tree.data,
            has_external_ids="external_ids" in aws,
            realms=_names(realms),
            directories=_having(realms, "ldap"),
            domains=_values(realms, "domain_sid"),
            roles=_names(roles),
            accounts=_texts(accounts),
            rule_names=rule_names,
            partition=partition_of(region) if isinstance(region, str) else None,
            long_term_keys=_long_term(aws),
            keyless=aws.get("credentials_provider") == _WEB_IDENTITY,
            lengths=tags.longest(
                realms=_names(realms) or (),
                groups=_groups(entries) if _having(roles, "tags") else (),
                rules=rule_names,
                roles=_names(roles) or (),
            ),
            signs=signs,
        )

    @staticmethod
    def seen_by(info: ValidationInfo) -> Elsewhere:
        """The context of a validation; the loader always gives one.

        Raises:
            TypeError: Validated without it. A check that is left out must not look like one that passed.
        """
        if not isinstance(info.context, Elsewhere):
            raise TypeError("a configuration is validated by broker.config.load only")
        return info.context


def _mapping(value: Value) -> dict[str, Value]:
    return value if isinstance(value, dict) else {}


def _names(value: Value) -> frozenset[str] | None:
    return frozenset(value) if isinstance(value, dict) else None


def _having(value: Value, key: str) -> frozenset[str] | None:
    return (
        frozenset(name for name, below in value.items() if key in _mapping(below)) if isinstance(value, dict) else None
    )


def _values(entries: Value, key: str) -> Counter[str]:
    found = (_mapping(entry).get(key) for entry in _mapping(entries).values())
    return Counter(value for value in found if isinstance(value, str))


def _texts(value: Value) -> frozenset[str] | None:
    if not isinstance(value, tuple):
        return None
    texts = [item for item in value if isinstance(item, str)]
    return frozenset(texts) if len(texts) == len(value) else None


def _long_term(aws: dict[str, Value]) -> bool | None:
    if aws.get("credentials_provider") == _WEB_IDENTITY:
        return True  # a call that is not signed is no chained one either
    if aws.get("credentials_provider", "environment") != "environment" or "session_token" in aws:
        return False
    key_id = aws.get("access_key_id")
    return key_id.startswith(_LONG_TERM) if isinstance(key_id, str) else None


def _groups(rules: list[dict[str, Value]]) -> Iterator[str]:
    for rule in rules:
        yield from _texts(rule.get("groups")) or ()
