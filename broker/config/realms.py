"""The section `kerberos`: whose tickets count, what they must be like, and the keys that prove them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.elsewhere import Elsewhere
from broker.config.fault import fault
from broker.config.section import Section
from broker.config.values import (
    AsText,
    Authorities,
    Keytabs,
    matching,
    parse_ldap_url,
)

_DOMAIN_SID = r"S-1-5-21(-[0-9]{1,10}){3}"
_REALM = r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}"


class Ldap(Section):
    """A realm's directory, asked for groups by name. The broker shows itself there with its own Kerberos key."""

    url: Annotated[str, AsText(parse_ldap_url)] = Field(
        description="`ldaps://HOST[:PORT]`, or `ldap://HOST[:PORT]`, which Kerberos encrypts. HOST as in `ldap/HOST@REALM`."
    )
    base: Annotated[
        str,
        matching(r"[A-Za-z0-9.-]+=[^=\x00-\x1f\x7f]+(,.+)?", "is not a distinguished name", "write dc=example,dc=com"),
    ] = Field(description="Below this entry are people and groups: `dc=example,dc=com`.")
    user_attribute: Literal["krbPrincipalName", "uid", "sAMAccountName", "userPrincipalName"] | None = Field(
        default=None,
        description="What a person's entry is found by. Without it: `sAMAccountName` where `domain_sid` is set, else "
        "`krbPrincipalName`.",
    )
    ca: Authorities | None = Field(
        default=None, description="For `ldaps`: PEM file with the authorities to trust. Without it: the system's."
    )


def _of_one_realm(domain_sid: str, info: ValidationInfo) -> str:
    # Else the one realm's KDC would say who is in the other's groups.
    if Elsewhere.seen_by(info).domains[domain_sid] > 1:
        raise fault("is the domain of several realms", "set each realm's own", shown=domain_sid)
    return domain_sid


DomainSid = Annotated[
    str, matching(_DOMAIN_SID, "is not a domain's SID", "write S-1-5-21-A-B-C"), AfterValidator(_of_one_realm)
]


class RealmOptions(Section):
    """What tickets of one realm must be like, and where its groups have names."""

    domain_sid: DomainSid | None = Field(
        default=None,
        description="Active Directory: the domain's SID. Only groups of this domain count; without it, no group does.",
    )
    require_pac: bool = Field(
        default=False,
        description="Active Directory: refuse tickets without the signed list of groups.",
    )
    allow_impersonation: bool = Field(
        default=False,
        description="Take tickets that a service obtained in a user's name (S4U). They show nobody's presence.",
    )
    ldap: Ldap | None = Field(
        default=None, description="The directory of this realm. Rules may then name its groups: `'REALM\\NAME'`."
    )


RealmName = Annotated[str, matching(_REALM, "is not a realm name", "use letters, digits, dots and dashes")]


def _guard_has_redis(guard: str | None, info: ValidationInfo) -> str | None:
    if guard == "shared" and not Elsewhere.seen_by(info).has_redis:
        raise fault("needs redis", "add the section redis, or set local for a single host")
    return guard


class Kerberos(Section):
    """Whose tickets count, and the keys that prove them."""

    keytabs: Keytabs = Field(
        description="Keytab files (mode 0600), or folders of `*.keytab` files (mode 0700). One path needs no list."
    )
    realms: Mapping[RealmName, RealmOptions] = Field(
        min_length=1,
        description="The realms whose principals are accepted, each with its options: `{EXAMPLE.COM: {}}`. "
        "Every other realm is refused.",
    )
    channel_binding: Literal["off", "allow", "require"] = Field(
        default="allow",
        description="Tickets bound to the TLS connection (RFC 5929): `off` ignores it, `allow` refuses a wrong binding, "
        "`require` also refuses none. curl and browsers on Linux send none; `zerotrust` does.",
    )
    replay_guard: Annotated[Literal["shared", "local"] | None, AfterValidator(_guard_has_redis)] = Field(
        default=None,
        description="Where a ticket's use is remembered: `shared` in Redis, for all instances (the default with `redis`); "
        "`local` in MIT's replay file, for all instances of this host (the default without).",
    )
