"""The whole broker, room by room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web
from redis import asyncio as redis

from broker import __version__
from broker.assembly.audit import audit_log, hsm_of, public_keys, witnesses_of
from broker.assembly.aws import documents_of, reloads_of, sts_client
from broker.assembly.cache import cache_of
from broker.assembly.check import Checked
from broker.assembly.elevation import elevating
from broker.assembly.entrance import entry_of
from broker.assembly.gauges import add_gauges
from broker.assembly.hierarchy import hierarchy_of
from broker.assembly.neighbours import neighbours_of
from broker.assembly.notification import notifier_of
from broker.assembly.operators import operators_door
from broker.assembly.reload import PolicyReload, Source
from broker.assembly.revocation import denies_of, epochs_of
from broker.assembly.shared import redis_client
from broker.assembly.sinks import forwarders_of
from broker.assembly.watch import watch_of
from broker.audit.log import AuditLog
from broker.audit.neighbours import Neighbours
from broker.audit.signer import JWKS_PATH
from broker.audit.witnesses import Witnesses
from broker.authn.directory import Directories
from broker.cache.sealed import CredentialCache
from broker.config.model import Settings
from broker.config.restart import digests, fingerprint
from broker.core.clock import Clock
from broker.issuing.alerts import Alerts
from broker.issuing.deny import Denies
from broker.issuing.explain import Explainer
from broker.issuing.issue import Issuer
from broker.issuing.notify import NotificationTest
from broker.issuing.passes import PassOffice
from broker.issuing.review import Reviews
from broker.issuing.revoke import Revocations
from broker.keys.pkcs11 import HsmKey
from broker.revocation.epochs import Epochs
from broker.revocation.holds import Holds
from broker.sts.client import StsClient
from broker.sts.console import Console
from broker.sts.iam import RolePolicies
from broker.watch.breach import Notifier
from broker.watch.files import FileWatch
from broker.watch.metrics import Metrics
from broker.watch.queue import Queue
from broker.watch.watch import Watch
from broker.web.app import build
from broker.web.connections import Connections, Runner, places
from broker.web.health import Health


@dataclass(slots=True)
class Broker:
    """The parts that the daemon starts, drains and stops."""

    app: web.Application
    connections: Connections
    health: Health
    issuer: Issuer
    audit: AuditLog
    neighbours: Neighbours
    sts: StsClient
    console: Console
    directories: Directories
    redis: redis.Redis | None
    cache: CredentialCache
    files: FileWatch
    epochs: Epochs
    denies: Denies
    role_policies: RolePolicies | None
    policy: PolicyReload
    hsm: HsmKey | None
    witnesses: Witnesses | None
    notifier: Notifier | None
    reviews: Reviews
    configuration: str
    watch: Watch

    async def open(self) -> None:
        """Record what starts, and read what the last one left."""
        await self.audit.open(version=__version__, configuration=self.configuration)
        await self.epochs.open()
        if self.notifier is not None:
            await self.notifier.open()

    async def reload(self) -> None:
        """Take over changed keytabs and certificates, roles and rules."""
        await self.files.look()
        await self.policy.take()

    @property
    def background(self) -> list[Callable[[], Awaitable[None]]]:
        """What goes on beside requests until the broker is told to stop."""
        return [
            self.audit.keep_checkpointing,
            self.neighbours.keep_looking,
            self.files.keep_looking,
            self.epochs.keep_in_step,
            self.denies.keep_in_force,
            self.policy.keep_giving_back,
            *([self.witnesses.keep_submitting] if self.witnesses else []),
            *([self.notifier.keep_notifying] if self.notifier else []),
            self.reviews.keep_packing,
            self.watch.keep_watching,
        ]

    def runner(self, *, shutdown_timeout: float) -> Runner:
        """What serves connections."""
        return Runner(self.app, connections=self.connections, shutdown_timeout=shutdown_timeout)

    def stop_accepting(self) -> None:
        """From here on every answer says that the broker is going down."""
        self.health.draining = True

    async def close(self) -> None:
        """Let what is under way be recorded, then let everything go."""
        await self.issuer.drain()
        await self.watch.close()
        if self.notifier is not None:
            await self.notifier.close()
        await self.audit.close()
        if self.hsm is not None:
            self.hsm.close()
        self.sts.close()
        if self.role_policies is not None:
            self.role_policies.close()
        await self.console.close()
        self.directories.close()
        self.reviews.stop()
        await self.epochs.close()
        if self.redis is not None:
            await self.redis.aclose()
        await self.cache.aclose()


def assemble(settings: Settings, checked: Checked, *, source: Source, clock: Clock) -> Broker:
    """Put the rooms together. To be called inside the running event loop.

    Args:
        settings: The configuration.
        checked: What was made of it so far.
        source: Where it came from, to be read again.
        clock: The time.
    """
    hierarchy = hierarchy_of(settings.encryption)
    metrics = Metrics()
    hsm = hsm_of(settings.encryption.hsm)
    sinks = forwarders_of(settings.audit, clock=clock, metrics=metrics)
    queue = Queue()
    observers = [metrics.observe, queue.observe]
    audit = audit_log(settings, hsm=hsm, clock=clock, observers=observers, sinks=sinks)
    witnesses = witnesses_of(settings, audit=audit, metrics=metrics, clock=clock)
    notifier = notifier_of(settings, hierarchy=hierarchy, audit=audit, metrics=metrics, clock=clock)
    if notifier is not None:
        observers.append(notifier.observe)
    client = redis_client(settings.redis) if settings.redis else None
    epochs = epochs_of(settings, hierarchy=hierarchy, client=client, metrics=metrics, clock=clock)
    holds = Holds(epochs=epochs)
    cache = cache_of(
        settings.redis,
        hierarchy=hierarchy,
        epoch=epochs.of_credentials,
        audit=audit,
        metrics=metrics,
        clock=clock,
    )
    sts = sts_client(settings.aws, base=checked.base, clock=clock, on_failure=metrics.sts_failed)
    denies, role_policies = denies_of(settings, sts=sts, epochs=epochs, audit=audit, metrics=metrics, clock=clock)
    console = Console(endpoint=settings.aws.signin_endpoint)
    entry = entry_of(
        settings,
        keys=checked.keys,
        hierarchy=hierarchy,
        client=client,
        epochs=epochs,
        audit=audit,
        metrics=metrics,
        clock=clock,
    )
    policies = checked.policies
    others, in_force = digests(settings), policies.current.fingerprint()
    policy = PolicyReload(
        source=source,
        policies=policies,
        fingerprint=in_force,
        needs_restart=others,
        directories=entry.directories,
        audit=audit,
    )
    elevation = elevating(
        settings,
        hierarchy=hierarchy,
        client=client,
        entrance=entry.entrance,
        policies=policies,
        epochs=epochs,
        holds=holds,
        audit=audit,
        metrics=metrics,
        clock=clock,
    )
    issuer = Issuer(
        entrance=entry.entrance,
        sessions=entry.sessions,
        boxes=elevation.boxes,
        epochs=epochs,
        holds=holds,
        policies=policies,
        cache=cache,
        sts=sts,
        console=console,
        audit=audit,
        clock=clock,
    )
    sources = {"keytabs": checked.keys.reload} | ({"tls": checked.tls.reload} if checked.tls else {})
    sources |= reloads_of(checked.base)
    sources |= {"geoip": checked.places.reload} if settings.watch.geoip_database else {}
    files = FileWatch(sources=sources, audit=audit)
    metrics.gauge(
        "broker_config_last_reload_successful",
        "Whether the roles and rules of the configuration file are in force, as of the last reload",
        lambda: float(policy.is_well),
    )
    add_gauges(metrics, audit=audit, hsm=hsm, keys=checked.keys, tls=checked.tls, files=files, sources=sources)
    health = Health(
        probes={
            "audit": audit.ping,
            **{f"audit_sink_{sink.name}": sink.ping for sink in sinks},
            "cache": cache.ping,
            "sts": sts.ping,
            "replay_guard": entry.replay_guard.ping,
            "files": files.ping,
            "revocations": epochs.ping,
            **({"hsm": hsm.ping} if hsm else {}),
            **({"witnesses": witnesses.ping} if witnesses else {}),
            "aws_denies": denies.ping,
            **entry.directories.probes(),
            **({"notifications": notifier.ping} if notifier else {}),
        },
        vital=frozenset({"audit", "replay_guard"})
        | {f"audit_sink_{sink.name}" for sink in sinks if sink.gate is not None},
        metrics=metrics.text,
        documents={JWKS_PATH: partial(public_keys, settings, hsm=hsm), **documents_of(checked.base)},
    )
    operators = operators_door(settings.admin, entry=entry, keys=checked.signing_keys, clock=clock)
    app = build(
        issuer=issuer,
        explainer=Explainer(
            entrance=entry.entrance, policies=policies, boxes=elevation.boxes, holds=holds, clock=clock
        ),
        office=PassOffice(entrance=entry.entrance, passes=entry.passes, policies=policies, holds=holds, clock=clock),
        operators=operators,
        revocations=Revocations(
            operators=operators,
            epochs=epochs,
            denies=denies,
            policies=policies,
            realms=settings.kerberos.realms,
            clock=clock,
        ),
        notification_test=NotificationTest(operators=operators, notifier=notifier),
        elevation=elevation.desk,
        reviews=elevation.reviews,
        alerts=Alerts(operators=operators, holds=holds),
        health=health,
        hostnames=frozenset(settings.server.hostnames or checked.keys.hosts),
        networks=settings.server.allowed_networks or (),
        trusted_proxies=settings.server.trusted_proxies or (),
        limit=entry.limits.address,
        tls=checked.tls,
    )
    return Broker(
        app=app,
        connections=_connections(metrics),
        health=health,
        issuer=issuer,
        audit=audit,
        neighbours=neighbours_of(settings, audit=audit, client=client, clock=clock),
        sts=sts,
        console=console,
        directories=entry.directories,
        redis=client,
        cache=cache,
        files=files,
        epochs=epochs,
        denies=denies,
        role_policies=role_policies,
        policy=policy,
        hsm=hsm,
        witnesses=witnesses,
        notifier=notifier,
        reviews=elevation.reviews,
        configuration=fingerprint(others, policy=in_force),
        watch=watch_of(
            settings,
            queue=queue,
            places=checked.places,
            hierarchy=hierarchy,
            client=client,
            holds=holds,
            audit=audit,
            metrics=metrics,
            clock=clock,
        ),
    )


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
