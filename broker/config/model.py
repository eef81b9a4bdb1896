"""Every key of the configuration, with its meaning, default and rules.

`kerberos` is in ``realms``, `redis`, `aws`, `admin`, `audit`, `encryption` and `watch` in pages of their names, `roles` and
`rules` in ``grants``.
The reference (docs/configuration.md) and the JSON Schema are made from these pages. Only ``broker.config.load`` validates it, for
it gives the validators what they must compare with (``Elsewhere``). A key exists only if something obeys it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.admin import Admin
from broker.config.audit import Audit
from broker.config.aws import Aws
from broker.config.aws_revocation import DenyHop
from broker.config.ciphers import OPENSSL_NAMES, known_suite
from broker.config.elsewhere import Elsewhere
from broker.config.encryption import Encryption
from broker.config.fault import fault
from broker.config.grants import HopEntry, NewRoleName, RoleEntry, Rule, named
from broker.config.notification import Security
from broker.config.realms import Kerberos
from broker.config.redis import RedisSection
from broker.config.secrets import Secrets
from broker.config.section import Section
from broker.config.telemetry import Telemetry
from broker.config.values import (
    DEFAULT_LISTEN,
    AbsolutePath,
    AsText,
    HostName,
    Listener,
    Networks,
    PrivateFile,
    RateText,
    ReadableFile,
    TcpListener,
    UnixListener,
    parse_listener,
)
from broker.config.watch import Watch
from broker.core.roles import SHORTEST_MAX_SESSION, Hop, Role, RoleArn, RoleName
from broker.core.rule import Rule as CoreRule
from broker.core.secret_rule import SecretRule

# --- server and tls --------------------------------------------------------------------------------------------------


def _needs_tls_section(listener: Listener, info: ValidationInfo) -> Listener:
    if isinstance(listener, TcpListener) and listener.tls and not Elsewhere.seen_by(info).has_tls:
        raise fault("needs a certificate", "add the section tls with certificate and private_key", shown=str(listener))
    return listener


class RateLimit(Section):
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


class Server(Section):
    """Where the broker listens, and to whom."""

    listen: tuple[Annotated[Listener, AsText(parse_listener), AfterValidator(_needs_tls_section)], ...] = Field(
        default=DEFAULT_LISTEN,  # validated like any other value
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


class Tls(Section):
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


# --- state ------------------------------------------------------------------------------------------------


class State(Section):
    """What must outlive the broker, and Redis."""

    directory: AbsolutePath | None = Field(
        default=None,
        description="The broker's own folder on a disk that stays, mode 0700: what was revoked is kept there. Each host has its "
        "own; the instances of a host share it. Without it: systemd's `STATE_DIRECTORY`, else `audit.directory`.",
    )


def _has_its_store(section: Secrets, info: ValidationInfo) -> Secrets:
    if section.store == "redis" and info.data.get("redis") is None:
        raise fault("has store: redis, and there is no section redis", "add redis, or leave store out")
    return section


class Settings(Section):
    """The whole configuration, valid."""

    server: Server
    tls: Tls | None = None
    kerberos: Kerberos
    aws: Aws
    role_entries: Mapping[NewRoleName, RoleEntry] = Field(
        default_factory=dict, alias="roles", description="Role names, each with its chain."
    )
    rules: tuple[Annotated[Rule, AfterValidator(named)], ...] = Field(
        default=(), description="Who may have which roles. What no rule allows is denied."
    )
    redis: RedisSection | None = None
    encryption: Encryption
    audit: Audit
    admin: Admin | None = None
    watch: Watch = Watch()
    telemetry: Telemetry = Telemetry()
    state: State = State()
    secrets: Annotated[Secrets, AfterValidator(_has_its_store)] = Secrets()
    security: Security | None = None

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Everything to listen on."""
        if self.admin is None or self.admin.socket is None:
            return self.server.listen
        return (*self.server.listen, UnixListener(self.admin.socket, is_private=True))

    @property
    def state_directory(self) -> Path:
        """Where what was revoked is kept."""
        return self.state.directory or self.audit.directory

    @property
    def roles(self) -> Mapping[RoleName, Role]:
        """The roles as the other rooms know them."""
        aliases = {account: alias for alias, account in self.aws.account_aliases.items()}
        accounts = {name: entry.chain[-1].arn.account for name, entry in self.role_entries.items()}
        return {
            name: entry.made(
                name,
                hop=self._given,
                alias=aliases.get(accounts[name]),
                production=accounts[name] in self.aws.production_accounts,
            )
            for name, entry in self.role_entries.items()
        }

    @property
    def grants(self) -> list[CoreRule]:
        """The rules as the other rooms know them, in their order."""
        return [rule.made() for rule in self.rules]

    @property
    def secret_rules(self) -> list[SecretRule]:
        """The rules about secrets as the other rooms know them, in their order."""
        return [rule.made() for rule in self.secrets.rules]

    @property
    def groups_that_count(self) -> frozenset[str]:
        """Every group that a rule names."""
        return frozenset(group for rule in (*self.grants, *self.secret_rules) for group in rule.groups_that_count)

    def _given(self, entry: HopEntry) -> Hop:
        return self._hop(entry, entry.arn, longest=entry.max_session_duration)

    @property
    def denying(self) -> Callable[[str], Sequence[Hop]] | None:
        """The chain of `aws.revocation` that leads into an account; None without that section."""
        section = self.aws.revocation
        return None if section is None else lambda account: [self._hop(hop, hop.at(account)) for hop in section.chain]

    def _hop(self, entry: HopEntry | DenyHop, arn: RoleArn, *, longest: timedelta = SHORTEST_MAX_SESSION) -> Hop:
        if not entry.derive_external_id:
            return Hop(arn=arn, external_id=entry.external_id, max_session_duration=longest)
        if self.aws.external_ids is None:
            # Refused at loading. A hop that goes without would be the worst way to find out.
            raise ValueError("derive_external_id without aws.external_ids")
        key = self.aws.external_ids.made()
        return Hop(arn=arn, external_id=key.current(arn), next_external_id=key.next(arn), max_session_duration=longest)
