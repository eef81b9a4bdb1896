"""A provider by name and, beside it, one flat section with the keys of that provider and no other's: the guide's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, ValidationInfo

from broker.config.fault import fault
from broker.config.values import matching

# What each provider needs, and what it may have besides.
Keys = Mapping[str, tuple[frozenset[str], frozenset[str]]]

MountPath = Annotated[
    str,
    matching(
        r"(?!\.)[A-Za-z0-9_.-]{1,64}(/(?!\.)[A-Za-z0-9_.-]{1,64}){0,3}",
        "is not where an engine is mounted",
        "write its path without a / at the ends: database",
    ),
]

# Vault and OpenBao: what each way to log in needs, and what it may have besides. No other way takes it.
_LOGINS: Keys = {
    "approle": (frozenset({"role_id", "secret_id"}), frozenset()),
    "token": (frozenset({"token"}), frozenset()),
    "kerberos": (frozenset(), frozenset()),
    "kubernetes": (frozenset({"role"}), frozenset({"service_account_file"})),
}

_Config = TypeVar("_Config", bound=BaseModel)


def fitting(config: _Config, info: ValidationInfo, keys: Keys) -> _Config:
    """The section, where it has what the ``provider`` in front of it needs, and nothing that is another's.

    Raises:
        PydanticCustomError: Something is missing or foreign.
    """
    provider = info.data.get("provider")
    if provider is None:
        return config  # the fault is the provider's own
    needed, possible = keys[provider]
    given = _given(config)
    if foreign := sorted(given - needed - possible):
        raise fault(
            f"has {', '.join(foreign)}, which {provider} does not know", "remove what belongs to another provider"
        )
    if missing := sorted(needed - given):
        raise fault(f"lacks {', '.join(missing)}, which {provider} needs", "add the missing keys")
    return config


def fitting_login(config: BaseModel, method: str) -> None:
    """The same for a way to log in to Vault, among whose keys there may be others.

    Raises:
        PydanticCustomError: Something is missing, or belongs to another way.
    """
    needed, possible = _LOGINS[method]
    given = _given(config)
    of_others = frozenset().union(*(keys for pair in _LOGINS.values() for keys in pair)) - needed - possible
    if foreign := sorted(given & of_others):
        raise fault(f"has {', '.join(foreign)}, which {method} does not take", "remove what belongs to another way")
    if missing := sorted(needed - given):
        raise fault(f"lacks {', '.join(missing)}, which {method} needs", "add the missing keys")


def _given(config: BaseModel) -> set[str]:
    return {key for key in config.model_fields_set if getattr(config, key) is not None}
