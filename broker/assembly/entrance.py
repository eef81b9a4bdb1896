"""Everything that says who asks: tickets, sessions and job passes, the groups behind them, and how often somebody may."""

from __future__ import annotations

from dataclasses import dataclass

from redis import asyncio as redis

from broker.assembly.directories import directories_of
from broker.audit.log import AuditLog
from broker.authn.acceptor import Binding, KerberosAcceptor
from broker.authn.directory import Directories
from broker.authn.dpop import ProofGuard
from broker.authn.job_pass import JobPasses
from broker.authn.keytab import AcceptorKeys
from broker.authn.register import Register
from broker.authn.replay import HostGuard, ReplayGuard, SharedGuard
from broker.authn.session import Sessions
from broker.authn.ticket import RealmRules
from broker.authz.limits import Limits, Of
from broker.authz.policies import Policies
from broker.config.model import Settings
from broker.config.realms import Kerberos
from broker.core.birth import Births
from broker.core.clock import Clock, boot_id
from broker.core.identity import LONGEST_DELEGATION
from broker.core.replicated import Replicas
from broker.issuing.ask import Entrance
from broker.keys.hierarchy import DailyEnvelope, KeyHierarchy, Use
from broker.revocation.epochs import Epochs
from broker.watch.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Entry:
    """The entrance, and those of its parts that others speak to as well."""

    entrance: Entrance
    sessions: Sessions
    passes: JobPasses
    proofs: ProofGuard
    directories: Directories
    replay_guard: ReplayGuard
    limits: Limits


def entry_of(
    settings: Settings,
    *,
    keys: AcceptorKeys,
    policies: Policies,
    hierarchy: KeyHierarchy,
    client: redis.Redis | None,
    epochs: Epochs,
    audit: AuditLog,
    metrics: Metrics,
    clock: Clock,
) -> Entry:
    """Everything that says who asks; with a Redis, as one for all instances that share it."""
    replicas = Replicas(settings.redis.must_be_told if settings.redis else 0)
    guard = _replay_guard(settings.kerberos, client, replicas, clock)
    if isinstance(guard, SharedGuard):
        metrics.breaker("replay_guard", lambda: guard.failure is not None)
    limits = _limits(policies, client, hierarchy, clock, metrics)
    directories = directories_of(settings, keys=keys, clock=clock)
    births = Births(clock=clock, boot=boot_id())
    proofs = ProofGuard(shared=None if isinstance(guard, HostGuard) else guard, clock=clock)
    sessions = Sessions(
        envelope=DailyEnvelope(hierarchy=hierarchy, use=Use.SESSION_SEAL, clock=clock),
        proofs=proofs,
        epoch=epochs.of,
        is_ended=epochs.is_ended,
        clock=clock,
        births=births,
    )
    key, *former = hierarchy.derive_all(Use.JOB_PASS_ENTRY)
    register = Register(client=client, replicas=replicas, key=key, former=former, clock=clock)
    passes = _job_passes(register, hierarchy, epochs, clock, births)
    entrance = Entrance(
        authenticator=KerberosAcceptor(
            keys=keys,
            realms=_realms(settings.kerberos),
            channel_binding=Binding(settings.kerberos.channel_binding),
            clock=clock,
        ),
        directories=directories,
        replay_guard=guard,
        sessions=sessions,
        passes=passes,
        limits=limits,
        epochs=epochs,
        audit=audit,
    )
    return Entry(
        entrance=entrance,
        sessions=sessions,
        passes=passes,
        proofs=proofs,
        directories=directories,
        replay_guard=guard,
        limits=limits,
    )


def _job_passes(register: Register, hierarchy: KeyHierarchy, epochs: Epochs, clock: Clock, births: Births) -> JobPasses:
    days = LONGEST_DELEGATION.days
    return JobPasses(
        envelope=DailyEnvelope(hierarchy=hierarchy, use=Use.JOB_PASS_SEAL, clock=clock, days=days),
        register=register,
        epoch=epochs.of,
        clock=clock,
        births=births,
    )


def _limits(
    policies: Policies, client: redis.Redis | None, hierarchy: KeyHierarchy, clock: Clock, metrics: Metrics
) -> Limits:
    limits = Limits(
        rates=lambda: policies.admission.rates,
        client=client,
        name_key=hierarchy.derive(Use.CACHE_NAME),
        clock=clock,
    )
    metrics.of_each(
        "broker_rate_limited_requests",
        "Requests that came too often from one principal or address",
        "of",
        lambda: {of: float(limits.refused[of]) for of in Of},
        counts=True,
    )
    metrics.breaker("limits", lambda: limits.failure is not None)
    return limits


def _realms(kerberos: Kerberos) -> dict[str, RealmRules]:
    return {
        name: RealmRules(
            domain_sid=options.domain_sid,
            require_pac=options.require_pac,
            allow_impersonation=options.allow_impersonation,
        )
        for name, options in kerberos.realms.items()
    }


def _replay_guard(kerberos: Kerberos, client: redis.Redis | None, replicas: Replicas, clock: Clock) -> ReplayGuard:
    if client is None or kerberos.replay_guard == "local":
        return HostGuard()
    return SharedGuard(client=client, replicas=replicas, clock=clock)
