"""What a report says of the configuration and of the keys: taken from the settings and the files themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from broker.assembly.keys import hierarchy_of
from broker.audit.signer import signers_by
from broker.authn import job_pass, session
from broker.authn.keytab import AcceptorKeys, Key
from broker.config.model import Settings
from broker.config.redis import Redis
from broker.core.errors import ConfigurationError
from broker.core.pattern import PrincipalPattern
from broker.core.roles import Role
from broker.core.rule import Rule
from broker.keys.certificate import beginning, expiry
from broker.reports.facts import KeyAge, RoleFacts, RuleFacts, Setup


def setup_of(settings: Settings) -> Setup:
    """What the configuration says, as far as a control asks for it."""
    server, admin, redis = settings.server, settings.admin, settings.redis
    limits = {"each principal": server.rate_limit.per_principal, "each address": server.rate_limit.per_address}
    return Setup(
        tls_minimum=settings.tls.min_version if settings.tls else None,
        tls_ciphers=settings.tls.ciphers if settings.tls else (),
        listeners=tuple(map(str, settings.listeners)),
        allowed_networks=server.allowed_networks is not None,
        rate_limits=tuple(f"{who}: {rate}" for who, rate in limits.items() if rate is not None),
        replay_guard=settings.kerberos.replay_guard or ("shared" if redis else "local"),
        channel_binding=settings.kerberos.channel_binding,
        roles=tuple(map(_role, settings.roles.values())),
        rules=tuple(map(_rule, settings.grants)),
        aws_credentials=settings.aws.credentials_provider,
        allowed_accounts=settings.aws.allowed_accounts or (),
        redis=_way_to(redis) if redis else None,
        operators=admin.principals if admin else (),
        operators_sign=admin is not None and admin.require_signed_requests,
        operators_indicators=admin.require.indicators if admin else (),
        session_lifetimes={
            "a browser's session": session.COOKIE_LIFETIME,
            "a program's session": session.TOKEN_LIFETIME,
            **({"a job pass, unless renewed": job_pass.LIFETIME} if any(r.job_passes for r in settings.rules) else {}),
        },
        sinks=tuple(f"{sink.name}{' (required)' if sink.required else ''}" for sink in settings.audit.sinks),
        witnesses=tuple(witness.url for witness in settings.audit.witnesses),
        channels=_channels(settings),
        aws_revocation=settings.aws.revocation is not None,
        audit_kid=signers_by(hierarchy_of(settings))[0].kid,
    )


def key_ages_of(settings: Settings) -> Sequence[KeyAge]:
    """Since when the certificate and the service's keys are in force; the encryption key's age is in the records.

    Raises:
        ConfigurationError: A keytab or the certificate cannot be read.
    """
    return [*_certificate(settings), *_service_keys(settings)]


def _certificate(settings: Settings) -> Iterator[KeyAge]:
    if settings.tls is None:
        return
    path = settings.tls.certificate
    try:
        pem = path.read_bytes()
        yield KeyAge("TLS certificate", since=beginning(pem), until=expiry(pem), source="the certificate")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            [f"tls.certificate: {path}: {error} — fix: name a PEM file with a certificate"]
        ) from error


def _service_keys(settings: Settings) -> Iterator[KeyAge]:
    """The newest key of each host: what new tickets are made with."""
    realms = frozenset(settings.kerberos.realms)
    newest: dict[str, Key] = {}
    for key in AcceptorKeys(settings.kerberos.keytabs, realms=realms, hosts=None).keys:
        name = f"{'/'.join(key.components)}@{key.realm}"
        if name not in newest or key.kvno > newest[name].kvno:
            newest[name] = key
    for name, key in sorted(newest.items()):
        since = datetime.fromtimestamp(key.made_at, UTC) if key.made_at else None
        yield KeyAge(f"key of {name}, version {key.kvno}", since=since, until=None, source="the keytab")


def _role(role: Role) -> RoleFacts:
    unguarded = tuple(hop.arn.text for hop in role.chain if hop.external_id is None)
    return RoleFacts(name=role.name, account=role.target.account, duration=role.duration, unguarded=unguarded)


def _rule(rule: Rule) -> RuleFacts:
    return RuleFacts(
        name=rule.name,
        roles=tuple(sorted(rule.roles)),
        everybody_of=tuple(sorted(pattern.realm for pattern in rule.principals if _means_everybody(pattern))),
        indicators=tuple(sorted(rule.require.indicators)),
        networks=bool(rule.networks),
        reason=rule.require.reason is not None,
        approvals=rule.require.approval,
        break_glass=rule.require.break_glass,
    )


def _channels(settings: Settings) -> tuple[str, ...]:
    """Their kinds; addresses and URLs may be secrets."""
    told = settings.security.breach_notification if settings.security else None
    if told is None or not told.enabled:
        return ()
    return tuple(name for channel in told.channels for name in channel.model_fields_set)


def _means_everybody(pattern: PrincipalPattern) -> bool:
    return not pattern.is_literal and len(pattern.components) == 1


def _way_to(redis: Redis) -> str:
    if redis.uses_tls:
        return "over TLS"
    return "over a local socket" if redis.url and redis.url.startswith("unix:") else "on loopback, in the clear"
