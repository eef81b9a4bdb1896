"""The composition root: settings in, a broker out. The only module that knows every room."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from aiohttp import web
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from broker.audit.log import AuditLog
from broker.audit.signer import jwks_of, signer_of
from broker.authn.acceptor import Binding, KerberosAcceptor
from broker.authn.directory import Directories, Directory, names_in
from broker.authn.dpop import ProofGuard
from broker.authn.initiator import Initiator
from broker.authn.job_pass import JobPasses
from broker.authn.keytab import AcceptorKeys
from broker.authn.layout import ByDistinguishedName, BySid, Layout
from broker.authn.ldap import Connection
from broker.authn.pac import within
from broker.authn.register import Register
from broker.authn.replay import HostGuard, ReplayGuard, SharedGuard
from broker.authn.session import Sessions
from broker.authn.ticket import RealmRules
from broker.authz.limits import Limits, Of
from broker.authz.policy import Policy, Requirements, Rule
from broker.cache.sealed import CredentialCache
from broker.cache.store import MemoryStore, RedisStore, Store
from broker.config.model import Aws, RateLimit, Redis, Settings, Tls
from broker.config.realms import Kerberos, Ldap
from broker.core.clock import Clock
from broker.core.errors import ConfigurationError
from broker.core.identity import LONGEST_DELEGATION
from broker.core.pattern import PrincipalPattern
from broker.core.principal import Principal
from broker.issuing.ask import Entrance
from broker.issuing.issue import Issuer
from broker.issuing.passes import PassOffice
from broker.keys.certificate import end_point_binding
from broker.keys.envelope import Envelope
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, Use
from broker.sts.client import BaseCredentials, StsClient, default_credentials, environment_credentials
from broker.watch.files import FileWatch
from broker.watch.metrics import Metrics
from broker.web.app import build
from broker.web.connections import Connections, Runner, places
from broker.web.health import Health
from broker.web.tls import ServerTls, TlsFiles

# A frozen Redis costs one request this much, once; then the store's breaker is open.
_REDIS_TIMEOUT = timedelta(milliseconds=200)
_REDIS_CONNECTIONS = 32


@dataclass(slots=True)
class Checked:
    """Everything that can be wrong about a configuration, made without side effects beyond reading files."""

    policy: Policy
    keys: AcceptorKeys
    tls: ServerTls | None


@dataclass(slots=True)
class Broker:
    """The parts that the daemon starts, drains and stops."""

    app: web.Application
    connections: Connections
    health: Health
    issuer: Issuer
    audit: AuditLog
    sts: StsClient
    directories: Directories
    redis: redis.Redis | None
    files: FileWatch

    async def reload(self) -> None:
        """Take over changed keytabs and certificates."""
        await self.files.look()

    def runner(self, *, shutdown_timeout: float) -> Runner:
        """What serves connections."""
        return Runner(self.app, connections=self.connections, shutdown_timeout=shutdown_timeout)

    def stop_accepting(self) -> None:
        """From here on every answer says that the broker is going down."""
        self.health.draining = True

    async def close(self) -> None:
        """Let what is under way be recorded, then let everything go."""
        await self.issuer.drain()
        await self.audit.close()
        self.sts.close()
        self.directories.close()
        if self.redis is not None:
            await self.redis.aclose()


def check(settings: Settings) -> Checked:
    """Go beyond the model: open keytabs and certificates, understand patterns.

    Raises:
        ConfigurationError: With every problem found.
    """
    problems: list[str] = []
    keys = tls = None
    realms = frozenset(settings.kerberos.realms)
    hosts = frozenset(settings.server.hostnames) if settings.server.hostnames else None
    try:
        keys = AcceptorKeys(settings.kerberos.keytabs, realms=realms, hosts=hosts)
    except ConfigurationError as error:
        problems += error.problems
    try:
        tls = _tls(settings.tls, Binding(settings.kerberos.channel_binding)) if settings.tls else None
    except ConfigurationError as error:
        problems += error.problems
    if problems or keys is None:
        raise ConfigurationError(problems)
    return Checked(policy=_policy(settings), keys=keys, tls=tls)


def assemble(settings: Settings, checked: Checked, *, clock: Clock) -> Broker:
    """Put the rooms together. To be called inside the running event loop."""
    hierarchy = KeyHierarchy(master=settings.encryption.key_bytes())
    metrics = Metrics()
    signer = signer_of(settings.encryption.key_bytes())
    audit = AuditLog(directory=settings.audit.directory, signer=signer, clock=clock, observers=[metrics.observe])
    client = _redis(settings.redis) if settings.redis else None
    store: Store = RedisStore(client=client, clock=clock) if client else MemoryStore(clock=clock)
    sts = StsClient(
        region=settings.aws.region,
        endpoint=settings.aws.sts_endpoint,
        base=_base_credentials(settings.aws),
        clock=clock,
    )
    guard = _replay_guard(settings.kerberos, client, clock)
    limits = _limits(settings.server.rate_limit, client, hierarchy, clock, metrics)
    directories = Directories(_directories(settings, checked.keys, clock))
    sessions = Sessions(
        envelope=DailyEnvelope(hierarchy=hierarchy, use=Use.SESSION_SEAL, clock=clock),
        proofs=ProofGuard(shared=None if isinstance(guard, HostGuard) else guard, clock=clock),
        epoch=_epoch,
        clock=clock,
    )
    passes = _job_passes(client, hierarchy, clock)
    entrance = Entrance(
        authenticator=KerberosAcceptor(
            keys=checked.keys,
            realms=_realms(settings.kerberos),
            channel_binding=Binding(settings.kerberos.channel_binding),
            clock=clock,
        ),
        directories=directories,
        replay_guard=guard,
        sessions=sessions,
        passes=passes,
        limits=limits,
        audit=audit,
    )
    issuer = Issuer(
        entrance=entrance,
        sessions=sessions,
        policy=checked.policy,
        cache=CredentialCache(
            store=store,
            envelope=Envelope(keys=[hierarchy.derive(Use.CACHE_SEAL)]),
            name_key=hierarchy.derive(Use.CACHE_NAME),
            clock=clock,
        ),
        sts=sts,
        audit=audit,
        clock=clock,
    )
    metrics.gauge(
        "broker_audit_last_checkpoint_timestamp_seconds",
        "When the audit chain was last checkpointed",
        lambda: audit.last_checkpoint or 0.0,
    )
    sources = {"keytabs": checked.keys.reload} | ({"tls": checked.tls.reload} if checked.tls else {})
    files = FileWatch(sources=sources, audit=audit)
    for name in sources:
        metrics.gauge(
            f"broker_{name}_last_reload_successful",
            f"Whether the {name} on disk are the ones in force",
            partial(files.is_well, name),
        )
    metrics.gauge(
        "broker_keytab_newest_key_timestamp_seconds",
        "When the newest key that tickets are accepted with was made",
        lambda: float(max(key.made_at for key in checked.keys.keys)),
    )
    metrics.gauge(
        "broker_keytab_kvno",
        "The newest key version number that tickets are accepted with",
        lambda: float(max(key.kvno for key in checked.keys.keys)),
    )
    health = Health(
        probes={
            "audit": audit.ping,
            "cache": store.ping,
            "sts": sts.ping,
            "replay_guard": guard.ping,
            "files": files.ping,
            **directories.probes(),
        },
        vital=frozenset({"audit", "replay_guard"}),
        metrics=metrics.text,
        jwks=jwks_of(signer),
    )
    app = build(
        issuer=issuer,
        office=PassOffice(entrance=entrance, passes=passes, policy=checked.policy, clock=clock),
        health=health,
        hostnames=frozenset(settings.server.hostnames or checked.keys.hosts),
        networks=settings.server.allowed_networks or (),
        trusted_proxies=settings.server.trusted_proxies or (),
        limit=limits.address,
        tls=checked.tls,
    )
    return Broker(
        app=app,
        connections=_connections(metrics),
        health=health,
        issuer=issuer,
        audit=audit,
        sts=sts,
        directories=directories,
        redis=client,
        files=files,
    )


def _epoch(_: Principal) -> int:
    """Nobody's sessions and passes are ended all at once yet (docs/adr/0006-sessions.md)."""
    return 0


def _job_passes(client: redis.Redis | None, hierarchy: KeyHierarchy, clock: Clock) -> JobPasses:
    days = LONGEST_DELEGATION.days
    return JobPasses(
        envelope=DailyEnvelope(hierarchy=hierarchy, use=Use.JOB_PASS_SEAL, clock=clock, days=days),
        register=Register(client=client, key=hierarchy.derive(Use.JOB_PASS_ENTRY), clock=clock),
        epoch=_epoch,
        clock=clock,
    )


def _limits(
    wanted: RateLimit, client: redis.Redis | None, hierarchy: KeyHierarchy, clock: Clock, metrics: Metrics
) -> Limits:
    rates = {Of.PRINCIPAL: wanted.per_principal, Of.ADDRESS: wanted.per_address}
    limits = Limits(
        rates={of: rate for of, rate in rates.items() if rate is not None},
        client=client,
        name_key=hierarchy.derive(Use.CACHE_NAME),
        clock=clock,
    )
    for of in Of:
        metrics.gauge(
            f"broker_rate_limited_{of}_requests",
            f"Requests that came too often from one {of}, since the start",
            partial(limits.refused.__getitem__, of),
        )
    return limits


def _connections(metrics: Metrics) -> Connections:
    connections = Connections(places=places())
    metrics.gauge("broker_connections", "Open client connections", lambda: float(connections.number))
    metrics.gauge(
        "broker_connections_hung_up_on",
        "Connections that were closed because their time had passed or to make room, since the start",
        lambda: float(connections.hung_up_on),
    )
    metrics.gauge(
        "broker_connections_turned_away",
        "Connections that found no room, since the start",
        lambda: float(connections.turned_away),
    )
    return connections


def _policy(settings: Settings) -> Policy:
    rules = [
        Rule(
            name=rule.name,
            principals=tuple(map(PrincipalPattern.parse, rule.principals)),
            groups=frozenset(rule.groups),
            networks=tuple(rule.networks or ()),
            require=Requirements(
                indicators=frozenset(rule.require.indicators),
                max_ticket_age=rule.require.max_ticket_age,
                channel_binding=rule.require.channel_binding,
            ),
            roles=frozenset(rule.roles),
            job_passes=rule.job_passes,
        )
        for rule in settings.rules
    ]
    return Policy(roles=settings.roles, rules=rules)


def _realms(kerberos: Kerberos) -> dict[str, RealmRules]:
    return {
        name: RealmRules(
            domain_sid=options.domain_sid,
            require_pac=options.require_pac,
            allow_impersonation=options.allow_impersonation,
        )
        for name, options in kerberos.realms.items()
    }


def _directories(settings: Settings, keys: AcceptorKeys, clock: Clock) -> dict[str, Directory]:
    """Of the realms whose groups some rule names; the others have nothing to be asked."""
    groups = {group for rule in settings.rules for group in rule.groups}
    found = {}
    for realm, options in settings.kerberos.realms.items():
        wanted = names_in(realm, groups)
        has_sids = options.domain_sid is not None and any(within(options.domain_sid, group) for group in groups)
        if options.ldap is not None and (wanted or has_sids):
            found[realm] = Directory(
                realm=realm,
                layout=_layout(options.ldap, options.domain_sid),
                wanted=wanted,
                connect=_connect(options.ldap, Initiator(keys=keys, realm=realm)),
                clock=clock,
            )
    return found


def _layout(section: Ldap, domain_sid: str | None) -> Layout:
    if domain_sid is None:
        return ByDistinguishedName(section.base, section.user_attribute or "krbPrincipalName")
    return BySid(section.base, domain_sid, section.user_attribute or "sAMAccountName")


def _connect(section: Ldap, initiator: Initiator) -> Callable[[], Awaitable[Connection]]:
    is_tls = section.url.startswith("ldaps:")
    tls = ssl.create_default_context(cafile=str(section.ca) if section.ca else None) if is_tls else None
    return partial(Connection.open, section.url, tls=tls, initiator=initiator)


def _replay_guard(kerberos: Kerberos, client: redis.Redis | None, clock: Clock) -> ReplayGuard:
    if client is None or kerberos.replay_guard == "local":
        return HostGuard()
    return SharedGuard(client=client, clock=clock)


def _tls(tls: Tls, binding: Binding) -> ServerTls:
    files = TlsFiles(
        certificate=tls.certificate,
        private_key=tls.private_key,
        minimum_version=ssl.TLSVersion.TLSv1_3 if tls.min_version == "TLSv1.3" else ssl.TLSVersion.TLSv1_2,
        ciphers=tls.openssl_ciphers,
        client_ca=tls.client_ca,
        must_bind=binding is Binding.REQUIRE,
    )
    return ServerTls(files=files, binding=end_point_binding)


def _base_credentials(aws: Aws) -> BaseCredentials:
    if aws.access_key_id is None or aws.secret_key is None:
        return default_credentials()
    return environment_credentials(
        access_key_id=aws.access_key_id,
        secret_key=aws.secret_key.reveal(),
        session_token=aws.session_token.reveal() if aws.session_token else None,
    )


def _redis(section: Redis) -> redis.Redis:
    seconds = _REDIS_TIMEOUT.total_seconds()
    pool = redis.BlockingConnectionPool.from_url(
        section.url,
        password=section.password.reveal() if section.password else None,
        socket_connect_timeout=seconds,
        socket_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        max_connections=_REDIS_CONNECTIONS,
        timeout=seconds,
    )
    return redis.Redis.from_pool(pool)
