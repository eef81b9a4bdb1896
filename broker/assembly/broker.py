"""The whole broker, room by room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web
from redis import asyncio as redis

from broker.assembly.audit import public_keys
from broker.assembly.aws import documents_of, feed, opened, probes_of, reloads_of, sts_client
from broker.assembly.cache import cache_of
from broker.assembly.check import Checked
from broker.assembly.doors import application, connections_of
from broker.assembly.elevation import elevating
from broker.assembly.entrance import entry_of
from broker.assembly.gauges import add_gauges
from broker.assembly.keys import Keys
from broker.assembly.keys import add_gauges as add_key_gauges
from broker.assembly.notification import left_spool
from broker.assembly.recording import Recording, recording_of
from broker.assembly.reload import PolicyReload, Source
from broker.assembly.revocation import denies_of, epochs_of
from broker.assembly.roll import Notes, notes_of
from broker.assembly.secrets import Secrets, secrets_of
from broker.assembly.shared import redis_client
from broker.assembly.watch import watch_of
from broker.audit.log import AuditLog
from broker.audit.signer import JWKS_PATH
from broker.authn.directory import Directories
from broker.cache.sealed import CredentialCache
from broker.config.model import Settings
from broker.config.restart import digests, fingerprint
from broker.core.clock import Clock, rfc3339
from broker.issuing.deny import Denies
from broker.issuing.issue import Issuer
from broker.issuing.review import Reviews
from broker.keys.hierarchy import Use
from broker.revocation.epochs import Epochs
from broker.revocation.holds import Holds
from broker.sts.base import BaseCredentials
from broker.sts.client import StsClient
from broker.sts.console import Console
from broker.sts.iam import RolePolicies
from broker.watch.certificate import certificate_probe
from broker.watch.clock import ClockWatch
from broker.watch.dependencies import Dependencies, Probe
from broker.watch.disks import Disks
from broker.watch.files import FileWatch
from broker.watch.metrics import Metrics
from broker.watch.process import LoopLag, add_process
from broker.watch.watch import Watch
from broker.web.connections import Connections
from broker.web.health import Health
from broker.web.runner import Runner


@dataclass(slots=True)
class Broker:
    """The parts that the daemon starts, drains and stops."""

    app: web.Application
    connections: Connections
    health: Health
    dependencies: Dependencies
    lag: LoopLag
    disks: Disks
    issuer: Issuer
    notes: Notes
    keys: Keys
    recording: Recording
    base: BaseCredentials
    sts: StsClient
    console: Console
    directories: Directories
    redis: redis.Redis | None
    cache: CredentialCache
    files: FileWatch
    clock_watch: ClockWatch
    epochs: Epochs
    denies: Denies
    role_policies: RolePolicies | None
    policy: PolicyReload
    reviews: Reviews
    configuration: str
    watch: Watch
    secrets: Secrets
    metrics: Metrics

    async def open(self) -> None:
        """Record what starts, and read what the last one left."""
        await self.recording.open(configuration=self.configuration)
        await self.epochs.open()
        await opened(self.base)

    async def reload(self) -> None:
        """Take over changed keytabs and certificates, roles and rules."""
        await self.files.look()
        await self.policy.take()

    @property
    def background(self) -> list[Callable[[], Awaitable[None]]]:
        """What goes on beside requests until the broker is told to stop."""
        return [
            *self.keys.background,
            *self.recording.background,
            self.dependencies.keep_looking,
            self.lag.keep_looking,
            self.disks.keep_looking,
            self.files.keep_looking,
            self.clock_watch.keep_looking,
            self.epochs.keep_in_step,
            self.denies.keep_in_force,
            self.policy.keep_giving_back,
            self.reviews.keep_packing,
            self.watch.keep_watching,
            self.notes.uses.keep_noting,
            *self.secrets.background,
        ]

    def runner(self, *, shutdown_timeout: float) -> Runner:
        """What serves connections."""
        return Runner(self.app, connections=self.connections, shutdown_timeout=shutdown_timeout)

    def status(self) -> str:
        """How much was asked, and what is wrong."""
        ill = self.dependencies.ill.items()
        faults = "; ".join(f"{name} degraded since {rfc3339(state.since)} ({state.code})" for name, state in ill)
        old = (
            ""
            if self.policy.is_well
            else "; the configuration on disk cannot be used, the old roles and rules are in force"
        )
        return f"{self.metrics.asked:,} requests for credentials; {faults or 'all well'}{old}"

    def drain(self) -> None:
        """From here on every answer ends its connection, and /readyz says that the broker is going down."""
        self.health.draining = True

    def refuse(self) -> None:
        """From here on nobody gets anything."""
        self.health.refusing = True

    async def close(self) -> None:
        """Let what is under way be recorded, then let everything go."""
        await self.issuer.drain()
        await self.notes.uses.write()
        await self.watch.close()
        await self.recording.close()
        self.sts.close()
        if self.role_policies is not None:
            self.role_policies.close()
        await self.console.close()
        await self.secrets.close()
        self.directories.close()
        self.reviews.stop()
        await self.epochs.close()
        if self.redis is not None:
            await self.redis.aclose()
        await self.cache.aclose()
        await self.keys.close()


def assemble(settings: Settings, checked: Checked, *, keys: Keys, source: Source, clock: Clock) -> Broker:
    """Put the rooms together. To be called inside the running event loop.

    Args:
        settings: The configuration.
        checked: What was made of it so far.
        keys: What seals, opened.
        source: Where it came from, to be read again.
        clock: The time.
    """
    hierarchy = keys.hierarchy
    metrics = Metrics()
    lag = add_process(metrics, clock=clock)
    client = redis_client(settings.redis) if settings.redis else None
    recording = recording_of(settings, hierarchy=hierarchy, client=client, metrics=metrics, clock=clock)
    audit = keys.audit = recording.audit
    epochs = epochs_of(settings, hierarchy=hierarchy, client=client, metrics=metrics, clock=clock)
    holds = Holds(epochs=epochs)
    for store in (epochs, recording.notifier or left_spool(settings, hierarchy=hierarchy)):
        keys.replica.register(store)
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
        policies=checked.policies,
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
        digests=others,
        directories=entry.directories,
        audit=audit,
    )
    elevation = elevating(
        settings,
        keys=keys,
        client=client,
        entrance=entry.entrance,
        policies=policies,
        epochs=epochs,
        holds=holds,
        audit=audit,
        metrics=metrics,
        clock=clock,
    )
    notes = notes_of(client, hierarchy=hierarchy, clock=clock)
    issuer = Issuer(
        entrance=entry.entrance,
        boxes=elevation.boxes,
        epochs=epochs,
        holds=holds,
        policies=policies,
        cache=cache,
        sts=sts,
        console=console,
        uses=notes.uses,
        audit=audit,
        clock=clock,
    )
    secrets = secrets_of(
        settings,
        checked=checked,
        hierarchy=hierarchy,
        entry=entry,
        holds=holds,
        audit=audit,
        metrics=metrics,
        clock=clock,
    )
    feed(checked.base, path=settings.aws.credentials_secret, vault=secrets.source)
    if secrets.vault is not None:
        keys.keep_sealed(secrets.vault)
    files = _files(settings, checked, audit=audit)
    clock_watch = ClockWatch(clock=clock, audit=audit)
    add_key_gauges(metrics, keys)
    add_gauges(
        metrics,
        recording=recording,
        policy=policy,
        keys=checked.keys,
        tls=checked.tls,
        files=files,
        sts=sts,
        issuer=issuer,
        clock=clock_watch,
    )
    probes: dict[str, Probe] = {
        "cache": cache.ping,
        "sts": sts.ping,
        "replay_guard": entry.replay_guard.ping,
        "files": files.ping,
        "clock": clock_watch.ping,
        "revocations": epochs.ping,
        "aws_denies": denies.ping,
        "secrets": secrets.ping,
        "keys": keys.replica.ping,
    }
    if checked.tls is not None:
        tls = checked.tls
        probes["certificate"] = certificate_probe(lambda: tls.expires, clock=clock)
    dependencies = Dependencies(
        probes={**recording.probes, **probes, **entry.directories.probes(), **probes_of(settings, checked.base)},
        vital=recording.vital | {"replay_guard"},
        spared=frozenset() if settings.secrets.provider == "integrated" else frozenset({"secrets"}),
        metrics=metrics,
        clock=clock,
    )
    health = Health(
        dependencies=dependencies,
        withheld=lambda: keys.replica.is_withheld,
        metrics=metrics.text,
        documents={JWKS_PATH: partial(public_keys, hierarchy, hsm=recording.hsm), **documents_of(checked.base)},
    )
    app = application(
        settings,
        checked,
        keys=keys,
        entry=entry,
        notes=notes,
        issuer=issuer,
        elevation=elevation,
        epochs=epochs,
        holds=holds,
        denies=denies,
        notifier=recording.notifier,
        secret_desk=secrets.desk,
        health=health,
        answered=metrics.answered,
        clock=clock,
    )
    return Broker(
        app=app,
        connections=connections_of(metrics),
        health=health,
        dependencies=dependencies,
        lag=lag,
        disks=Disks(
            directories={"audit": settings.audit.directory, "state": settings.state_directory}, metrics=metrics
        ),
        issuer=issuer,
        notes=notes,
        keys=keys,
        recording=recording,
        base=checked.base,
        sts=sts,
        console=console,
        directories=entry.directories,
        redis=client,
        cache=cache,
        files=files,
        clock_watch=clock_watch,
        epochs=epochs,
        denies=denies,
        role_policies=role_policies,
        policy=policy,
        reviews=elevation.reviews,
        configuration=fingerprint(others, policy=in_force, key=hierarchy.derive(Use.CONFIGURATION_NAME)),
        secrets=secrets,
        metrics=metrics,
        watch=watch_of(
            settings,
            queue=recording.queue,
            places=checked.places,
            keys=keys,
            client=client,
            holds=holds,
            audit=audit,
            metrics=metrics,
            clock=clock,
        ),
    )


def _files(settings: Settings, checked: Checked, *, audit: AuditLog) -> FileWatch:
    """What is taken over when it changes on disk."""
    sources = {"keytabs": checked.keys.reload, **reloads_of(checked.base)}
    if checked.tls is not None:
        sources["tls"] = checked.tls.reload
    if settings.watch.geoip_database is not None:
        sources["geoip"] = checked.places.reload
    return FileWatch(sources=sources, audit=audit)
