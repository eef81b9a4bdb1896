"""A provider by name and, beside it, one flat section with the keys of that provider and no other's: the guide's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, ValidationInfo

from broker.config.fault import fault
from broker.config.values import AsText, matching, parse_https, split_url

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

Word = Annotated[
    str, matching(r"[!-~]([ -~]{0,254}[!-~])?", "is not a name", "write 1 to 256 printable characters", shown=False)
]


Url = Annotated[str, AsText(parse_https)]


def _azure(text: str) -> str:
    """The SDK takes nothing else, on loopback either; and a vault or an authority has no folders."""
    text = parse_https(text)
    url = split_url(text)
    if url.scheme != "https" or url.path.strip("/") or url.query or url.fragment:
        raise fault("is not the https:// URL of a server alone", "write https://NAME.vault.azure.net")
    return text


AzureUrl = Annotated[str, AsText(_azure)]
Region = Annotated[str, matching(r"[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}", "is not an AWS region", "write eu-central-1")]
# AWS KMS API Reference, Encrypt, KeyId: an id, an ARN, `alias/NAME`, an alias's ARN.
KmsKey = Annotated[
    str,
    matching(
        r"(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:)?(key/|alias/)?[A-Za-z0-9/_-]{1,256}",
        "is not a key of AWS KMS",
        "write its id, its ARN, or alias/NAME",
    ),
]
TenantId = Annotated[
    str, matching(r"[A-Za-z0-9.-]{1,253}", "is not a tenant of Entra ID", "write its id: 8-4-4-4-12 hexadecimal digits")
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
