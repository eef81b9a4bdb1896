"""What was revoked: on this host's disk, and among the instances."""

from __future__ import annotations

from secrets import SystemRandom

from redis import asyncio as redis

from broker.audit.log import AuditLog
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.issuing.deny import Denies
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.revocation.epochs import Epochs
from broker.revocation.file import LedgerFile
from broker.revocation.spread import Spread
from broker.sts.client import StsClient
from broker.sts.iam import RolePolicies
from broker.watch.metrics import Metrics


def ledger_file(settings: Settings, *, hierarchy: KeyHierarchy) -> LedgerFile:
    """The one of this host."""
    return LedgerFile(directory=settings.state_directory, envelope=hierarchy.envelope(Use.REVOCATION_SEAL))


def epochs_of(
    settings: Settings, *, hierarchy: KeyHierarchy, client: redis.Redis | None, metrics: Metrics, clock: Clock
) -> Epochs:
    """What every request asks; with a Redis, as one for all instances that share it."""
    spread = None
    if client is not None:
        name_key = hierarchy.derive(Use.REVOCATION_NAME)
        spread = Spread(client=client, envelope=hierarchy.envelope(Use.REVOCATION_SEAL), name_key=name_key, clock=clock)
        metrics.counter(
            "broker_revocations_forged_entries",
            "Entries in Redis that none of us wrote",
            lambda: float(spread.forged),
        )
        metrics.gauge(
            "broker_instances", "Instances that share our Redis and are heard", lambda: float(len(spread.others) + 1)
        )
    return Epochs(file=ledger_file(settings, hierarchy=hierarchy), spread=spread, clock=clock)


def denies_of(
    settings: Settings, *, sts: StsClient, epochs: Epochs, audit: AuditLog, metrics: Metrics, clock: Clock
) -> tuple[Denies, RolePolicies | None]:
    """What tells AWS; and what it asks IAM with, where `aws.revocation` says as whom."""
    roles = None
    if settings.denying is not None:
        aws = settings.aws
        roles = RolePolicies(sts=sts, chain=settings.denying, region=aws.region, endpoint=aws.iam_endpoint, clock=clock)
    denies = Denies(roles=roles, epochs=epochs, audit=audit, clock=clock, chance=SystemRandom().random)
    metrics.gauge("broker_aws_denies", "Denies that lie at AWS roles, or should", lambda: float(denies.number))
    metrics.gauge(
        "broker_aws_denies_late",
        "Denies that AWS should have had, or should be rid of, for longer than it takes",
        lambda: float(denies.late),
    )
    return denies, roles
