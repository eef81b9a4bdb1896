"""What a key must agree with in another section, given to the validators as pydantic's context.

It is read from the tree before validation, so that a fault in one section hides none in another. None means that the
other section is itself too broken to compare with; then only its own fault is reported.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pydantic import ValidationInfo

from broker.config.tree import Tree, Value


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Names and facts of the whole configuration."""

    has_tls: bool
    has_redis: bool
    has_external_ids: bool
    realms: frozenset[str] | None
    directories: frozenset[str] | None
    domains: frozenset[str]
    roles: frozenset[str] | None
    accounts: frozenset[str] | None
    rule_names: Counter[str]

    @classmethod
    def of(cls, tree: Tree) -> Elsewhere:
        """Drawn from a tree that nobody has validated yet."""
        kerberos, aws = _mapping(tree.data.get("kerberos")), _mapping(tree.data.get("aws"))
        realms, rules = kerberos.get("realms"), tree.data.get("rules")
        names = [_mapping(rule).get("name") for rule in rules] if isinstance(rules, tuple) else []
        accounts = aws.get("allowed_accounts")
        return cls(
            has_tls="tls" in tree.data,
            has_redis="redis" in tree.data,
            has_external_ids="external_ids" in aws,
            realms=_names(realms),
            directories=_having(realms, "ldap"),
            domains=_values(realms, "domain_sid"),
            roles=_names(tree.data.get("roles", {})),
            accounts=_texts(accounts),
            rule_names=Counter(name for name in names if isinstance(name, str)),
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


def _values(entries: Value, key: str) -> frozenset[str]:
    found = (_mapping(entry).get(key) for entry in _mapping(entries).values())
    return frozenset(value for value in found if isinstance(value, str))


def _texts(value: Value) -> frozenset[str] | None:
    if not isinstance(value, tuple):
        return None
    texts = [item for item in value if isinstance(item, str)]
    return frozenset(texts) if len(texts) == len(value) else None
