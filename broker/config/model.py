"""Every key of the configuration, with its meaning, default and rules.

The reference (docs/configuration.md) and the JSON Schema are made from this page. Only ``broker.config.load`` validates
it, for it gives the validators what they must compare with (``Elsewhere``). A key exists only if something obeys it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from broker.config.ciphers import OPENSSL_NAMES, known_suite
from broker.config.elsewhere import Elsewhere
from broker.config.fault import fault, nearest
from broker.config.values import (
    EXTERNAL_ID_FORM,
    AbsolutePath,
    AccountNumber,
    AsText,
    Authorities,
    Duration,
    HostName,
    Keytabs,
    Listener,
    Networks,
    PrivateFile,
    RateText,
    ReadableFile,
    SecretText,
    TcpListener,
    duration_text,
    key_bytes,
    matching,
    parse_key,
    parse_ldap_url,
    parse_listener,
    parse_redis_url,
    parse_sts_endpoint,
)
from broker.core.identity import LONGEST_DELEGATION
from broker.core.pattern import PrincipalPattern, UnsafePattern
from broker.core.roles import EXTERNAL_ID, LONGEST, ROLE_NAME, Hop, MalformedArn, Role, RoleArn, RoleName
from broker.core.secret import Secret

# Credentials are refreshed with 20 minutes left and never handed out with less than 15 (SDKs run their helper anew at every
# signature below that), so a role of less than this would be fetched for every request.
SHORTEST_DURATION = timedelta(minutes=20)
# A guard against copied chains; AWS itself sets no limit.
_HOPS_MAX = 5


_T = TypeVar("_T")


_DOMAIN_SID = r"S-1-5-21(-[0-9]{1,10}){3}"
# MS-DTYP section 2.4.2.1: up to fifteen sub-authorities.
_SID = r"S-1-[0-9]{1,15}(-[0-9]{1,10}){1,15}"


_REALM = r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}"
# What stands between a realm and a group's name; realms have none, and names of groups that rules can use neither.
_IN_REALM = "\\"
_GROUP_NAME = r"[^\x00-\x1f\x7f\\]{1,256}"


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


# --- server and tls --------------------------------------------------------------------------------------------------


def _needs_tls_section(listener: Listener, info: ValidationInfo) -> Listener:
    if isinstance(listener, TcpListener) and listener.tls and not Elsewhere.seen_by(info).has_tls:
        raise fault("needs a certificate", "add the section tls with certificate and private_key", shown=str(listener))
    return listener


class RateLimit(_Section):
    """How often somebody may ask, over all instances that share a Redis; beyond that: 429 with Retry-After. None by default."""

    per_principal: RateText | None = Field(
        default=None,
        description="For each principal: `60/minute` (or second, hour). Where 100 helpers run at once "
        "in one account: `600/minute`. Without it: no limit.",
    )
    per_address: RateText | None = Field(
        default=None,
        description="For each client address (IPv6: each /64), before its ticket is looked at. Without it: no limit. "
        "As much as all principals of a host need together. Local sockets have no address and no such limit.",
    )


class Server(_Section):
    """Where the broker listens, and to whom."""

    listen: tuple[Annotated[Listener, AsText(parse_listener), AfterValidator(_needs_tls_section)], ...] = Field(
        default=("https://0.0.0.0:8443",),  # validated like any other value
        validate_default=True,
        min_length=1,
        description="Addresses: `https://HOST:PORT`, `http://HOST:PORT` (loopback only) or `unix:/PATH`. "
        "Port 0 takes any free port.",
    )
    hostnames: tuple[HostName, ...] | None = Field(
        default=None,
        min_length=1,
        description="Names that a Host header may carry. Without it: the hosts of the `HTTP/` entries in the keytabs.",
    )
    allowed_networks: Networks | None = Field(
        default=None, description="Networks (CIDR) that may connect. Without it: all."
    )
    trusted_proxies: Networks | None = Field(
        default=None,
        description="Networks (CIDR) of proxies in front of the broker: only from these does `X-Forwarded-For` or "
        "`Forwarded` name the client's address. Without it: from nobody. Each proxy must add the address it saw.",
    )
    rate_limit: RateLimit = Field(default=RateLimit(), description="How often somebody may ask.")


class Tls(_Section):
    """For `https` listeners. TLS 1.3 is always offered, with cipher suites of its own."""

    min_version: Literal["TLSv1.2", "TLSv1.3"] = Field(
        default="TLSv1.2", description="The oldest TLS version accepted: `TLSv1.2` or `TLSv1.3`."
    )
    ciphers: tuple[Annotated[str, AsText(known_suite)], ...] = Field(
        default=tuple(OPENSSL_NAMES),
        min_length=1,
        description="TLS 1.2 cipher suites by IANA's names, the preferred first.",
    )
    certificate: ReadableFile = Field(description="PEM file: the server's certificate, then its intermediates.")
    private_key: PrivateFile = Field(description="PEM file with the certificate's key, mode 0600.")
    client_ca: ReadableFile | None = Field(
        default=None,
        description="PEM file: clients must show a certificate that one of these CAs signed. Without it: none asked.",
    )

    @property
    def openssl_ciphers(self) -> str:
        """For ``ssl.SSLContext.set_ciphers()``."""
        return ":".join(OPENSSL_NAMES[name] for name in self.ciphers)


# --- kerberos --------------------------------------------------------------------------------------------------------


class Ldap(_Section):
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


class RealmOptions(_Section):
    """What tickets of one realm must be like, and where its groups have names."""

    domain_sid: Annotated[str, matching(_DOMAIN_SID, "is not a domain's SID", "write S-1-5-21-A-B-C")] | None = Field(
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


class Kerberos(_Section):
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


# --- aws -------------------------------------------------------------------------------------------------------------


def _key_id_fits(value: str | None, info: ValidationInfo) -> str | None:
    return _fits_provider(value, info, "set AWS_ACCESS_KEY_ID")


def _secret_key_fits(value: Secret | None, info: ValidationInfo) -> Secret | None:
    return _fits_provider(value, info, "set ZEROTRUST_AWS_SECRET_KEY, or name a file as secret_key_file")


def _token_fits(value: Secret | None, info: ValidationInfo) -> Secret | None:
    return value if value is None else _fits_provider(value, info, "")


def _fits_provider(value: _T, info: ValidationInfo, how_to_set: str) -> _T:
    provider = info.data.get("credentials_provider")
    if provider == "environment" and value is None:
        fix = f"{how_to_set}, or set credentials_provider to default (instance profile, container, SSO)"
        raise fault("is missing, and credentials_provider is environment", fix)
    if provider == "default" and value is not None:
        raise fault("has no effect with credentials_provider default", "remove it, or set the provider to environment")
    return value


class Aws(_Section):
    """Where the broker's own AWS credentials come from, and how far they may reach."""

    region: Annotated[
        str, matching(r"[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}", "is not an AWS region", "write eu-central-1")
    ] = Field(description="The region of the STS endpoint, such as `eu-central-1`.")
    credentials_provider: Literal["environment", "default"] = Field(
        default="environment",
        description="`environment`: `access_key_id`, `secret_key` and `session_token` below. "
        "`default`: the AWS SDK's own search (instance profile, container, shared files).",
    )
    access_key_id: Annotated[
        Annotated[str, matching(r"\w{16,128}", "is not an access key id", "write AKIA...")] | None,
        AfterValidator(_key_id_fits),
    ] = Field(default=None, validate_default=True, description="Also read from `AWS_ACCESS_KEY_ID`.")
    secret_key: Annotated[SecretText | None, AfterValidator(_secret_key_fits)] = Field(
        default=None, validate_default=True, description="Secret. Also read from `AWS_SECRET_ACCESS_KEY`."
    )
    session_token: Annotated[SecretText | None, AfterValidator(_token_fits)] = Field(
        default=None,
        validate_default=True,
        description="Secret, for temporary keys. Also read from `AWS_SESSION_TOKEN`.",
    )
    sts_endpoint: Annotated[str, AsText(parse_sts_endpoint)] | None = Field(
        default=None,
        description="Another STS endpoint: a VPC endpoint by https, or a test double by http on loopback. "
        "Without it: the region's.",
    )
    allowed_accounts: tuple[AccountNumber, ...] | None = Field(
        default=None,
        min_length=1,
        description="The AWS accounts that chains may touch, twelve digits in quotes. Without it: any.",
    )


# --- roles -----------------------------------------------------------------------------------------------------------


def _role_arn(text: str) -> RoleArn:
    try:
        return RoleArn.parse(text)
    except MalformedArn:
        raise fault("is not the ARN of an IAM role", "write arn:aws:iam::ACCOUNT:role/NAME", shown=text) from None


def _in_allowed_account(arn: RoleArn, info: ValidationInfo) -> RoleArn:
    accounts = Elsewhere.seen_by(info).accounts
    if accounts is not None and arn.account not in accounts:
        fix = f'add "{arn.account}" to aws.allowed_accounts, or correct the ARN'
        raise fault("lies in an account that is not allowed", fix, shown=arn.text)
    return arn


class HopEntry(_Section):
    """One AssumeRole call."""

    arn: Annotated[RoleArn, AsText(_role_arn), AfterValidator(_in_allowed_account)] = Field(
        description="The role to assume: `arn:aws:iam::ACCOUNT:role/NAME`."
    )
    external_id: (
        Annotated[str, matching(EXTERNAL_ID.pattern, "is not an external ID", EXTERNAL_ID_FORM, shown=False)] | None
    ) = Field(default=None, repr=False, description="The external ID that the role's trust policy demands.")


def _one_partition(chain: tuple[HopEntry, ...]) -> tuple[HopEntry, ...]:
    partitions = sorted({hop.arn.partition for hop in chain})
    if len(partitions) > 1:
        fix = "keep the whole chain in one: AWS lets no role be assumed across partitions"
        raise fault(f"goes through the partitions {', '.join(partitions)}", fix)
    return chain


def _role_duration(duration: timedelta) -> timedelta:
    if duration > LONGEST:
        raise fault("is over one hour, where AWS ends role chaining (the call would fail)", "write 1h or less")
    if duration < SHORTEST_DURATION:
        raise fault(
            "is under 20 minutes: AWS SDKs fetch anew at every call with less than 15 minutes left, and the broker "
            "refreshes at 20",
            "write a duration from 20m to 1h",
        )
    return duration


class RoleEntry(_Section):
    """What a role name stands for."""

    chain: Annotated[tuple[HopEntry, ...], AfterValidator(_one_partition)] = Field(
        min_length=1, max_length=_HOPS_MAX, description="One to five roles; each assumes the next, users get the last."
    )
    duration: Annotated[Duration, AfterValidator(_role_duration)] = Field(
        default=LONGEST, description="How long credentials live, `20m` to `1h`."
    )


NewRoleName = Annotated[
    RoleName,
    matching(ROLE_NAME.pattern, "is not a role name", "use up to 64 letters, digits, dots, dashes, underscores"),
]


# --- rules -----------------------------------------------------------------------------------------------------------


def _used_once(name: str, info: ValidationInfo) -> str:
    if Elsewhere.seen_by(info).rule_names[name] > 1:
        raise fault("is the name of several rules", "give each rule a name of its own", shown=name)
    return name


def _known_role(name: str, info: ValidationInfo) -> RoleName:
    roles = Elsewhere.seen_by(info).roles
    if roles is not None and name not in roles:
        raise fault("is no role of this configuration", f"{nearest(name, roles)}add it under roles", shown=name)
    return RoleName(name)


def _principal_pattern(text: str) -> str:
    try:
        PrincipalPattern.parse(text)
    except UnsafePattern as error:
        raise fault(error.what, error.fix, shown=text) from None
    return text


def _useful_age(age: timedelta) -> timedelta:
    if age < SHORTEST_DURATION:
        raise fault("is under 20 minutes: AWS makes no credentials of less than 15", "write 20m or more")
    return age


def _named(rule: Rule) -> Rule:
    if not rule.principals and not rule.groups:
        raise fault("names nobody", "add principals or groups")
    return rule


def _passes_can_count(longest: timedelta | None, info: ValidationInfo) -> timedelta | None:
    if longest is None:
        return None
    if not Elsewhere.seen_by(info).has_redis:
        raise fault("needs redis, where it is known which passes are in force", "add the section redis")
    require = info.data.get("require")  # None where it has a fault of its own
    if require is not None and require.channel_binding:
        raise fault("is of no use: no job pass is bound to a connection", "remove it, or require.channel_binding")
    if require is not None and require.max_ticket_age is not None and require.max_ticket_age < longest:
        raise fault("goes on after require.max_ticket_age", f"write {duration_text(require.max_ticket_age)} or less")
    return longest


def _pass_length(longest: timedelta) -> timedelta:
    if longest > LONGEST_DELEGATION:
        raise fault(
            f"is over {LONGEST_DELEGATION.days} days", "write 7d or less; jobs that take longer need a ticket again"
        )
    return _useful_age(longest)


def _group(text: str) -> str:
    realm, separator, name = text.partition(_IN_REALM)
    is_named = re.fullmatch(_REALM, realm) and re.fullmatch(_GROUP_NAME, name)
    if not (is_named if separator else re.fullmatch(_SID, text)):
        fix = r"write S-1-5-21-...-1105, or REALM\NAME for a realm with ldap"
        raise fault("is no group's SID or name", fix, shown=text)
    return text


def _in_directory(text: str, info: ValidationInfo) -> str:
    directories = Elsewhere.seen_by(info).directories
    realm, separator, _ = text.partition(_IN_REALM)
    if separator and directories is not None and realm not in directories:
        fix = f"{nearest(realm, directories)}add ldap to kerberos.realms.{realm}, or write the group's SID"
        raise fault("is of a realm without a directory", fix, shown=text)
    return text


def _in_known_realm(text: str, info: ValidationInfo) -> str:
    realms = Elsewhere.seen_by(info).realms
    realm = PrincipalPattern.parse(text).realm
    if realms is not None and realm not in realms:
        fix = f"{nearest(realm, realms)}add {realm} to kerberos.realms"
        raise fault("is of a realm that is not accepted", fix, shown=text)
    return text


class Require(_Section):
    """What a ticket must be like for a rule to hold; otherwise the answer is 403 step_up_required."""

    indicators: tuple[
        Annotated[str, matching(r"[A-Za-z0-9_.-]{1,64}", "is not an indicator", "write pkinit or otp")], ...
    ] = Field(
        default=(),
        description="At least one of these authentication indicators (RFC 8129), as the KDC names them: `[pkinit, otp]`.",
    )
    max_ticket_age: Annotated[Duration, AfterValidator(_useful_age)] | None = Field(
        default=None,
        description="Since somebody authenticated, renewals not counted. Credentials end no later.",
    )
    channel_binding: bool = Field(default=False, description="The ticket must be bound to the TLS connection.")


class Rule(_Section):
    """Who may have which roles. What no rule allows is denied."""

    name: Annotated[
        str,
        matching(ROLE_NAME.pattern, "is not a rule's name", "use up to 64 letters, digits, dots, dashes, underscores"),
        AfterValidator(_used_once),
    ] = Field(description="A name of its own, for the audit record.")
    principals: tuple[Annotated[str, AsText(_principal_pattern), AfterValidator(_in_known_realm)], ...] = Field(
        default=(),
        description="Principals as `klist` prints them. A `*` stands for one whole component: `*/admin@EXAMPLE.COM`.",
    )
    groups: tuple[Annotated[str, AsText(_group), AfterValidator(_in_directory)], ...] = Field(
        default=(),
        description="Groups of Active Directory by SID, or of a realm with `ldap` by name: `'REALM\\NAME'`; whoever is in "
        "one, or is named above, is meant. Nested groups count.",
    )
    networks: Networks | None = Field(default=None, description="Only from these networks (CIDR). Without it: any.")
    require: Require = Field(default=Require(), description="What the ticket must be like.")
    roles: tuple[Annotated[RoleName, AsText(RoleName), AfterValidator(_known_role)], ...] = Field(
        min_length=1, description="Names from `roles`."
    )
    job_passes: Annotated[
        Annotated[Duration, AfterValidator(_pass_length)] | None, AfterValidator(_passes_can_count)
    ] = Field(
        default=None,
        description="For how long jobs may go on by this rule after their owner showed a ticket, `20m` to `7d`; needs `redis`. "
        "Without it: a ticket is needed each time.",
    )


# --- redis, encryption, audit ----------------------------------------------------------------------------------------


class Redis(_Section):
    """The cache that several instances share. Without this section each instance keeps its own, in memory."""

    url: Annotated[str, AsText(parse_redis_url)] = Field(
        description="`rediss://[USER@]HOST[:PORT][/DB]`, `unix:///PATH`, or `redis://` on loopback."
    )
    password: SecretText | None = Field(default=None, description="Secret.")


class Encryption(_Section):
    """The key that seals whatever the broker keeps outside its own memory."""

    key: Annotated[Secret, AsText(parse_key)] = Field(
        description="Secret. 32 random bytes in base64: `head -c 32 /dev/urandom | base64`."
    )

    def key_bytes(self) -> bytes:
        """The 32 bytes themselves."""
        return key_bytes(self.key)


class Audit(_Section):
    """The record of every attempt."""

    directory: AbsolutePath = Field(
        description="The folder of the record files; the broker must be able to write there."
    )


class Settings(_Section):
    """The whole configuration, valid."""

    server: Server
    tls: Tls | None = None
    kerberos: Kerberos
    aws: Aws
    role_entries: Mapping[NewRoleName, RoleEntry] = Field(
        default_factory=dict, alias="roles", description="Role names, each with its chain."
    )
    rules: tuple[Annotated[Rule, AfterValidator(_named)], ...] = Field(
        default=(), description="Who may have which roles. What no rule allows is denied."
    )
    redis: Redis | None = None
    encryption: Encryption
    audit: Audit

    @property
    def roles(self) -> Mapping[RoleName, Role]:
        """The roles as the other rooms know them."""
        return {
            name: Role(
                name=name,
                chain=tuple(Hop(arn=hop.arn, external_id=hop.external_id) for hop in entry.chain),
                duration=entry.duration,
            )
            for name, entry in self.role_entries.items()
        }
