"""What the parts of a running broker say of themselves at /metrics."""

from __future__ import annotations

from functools import partial

from broker.assembly.recording import Recording
from broker.assembly.reload import PolicyReload
from broker.authn.keytab import AcceptorKeys
from broker.issuing.issue import Issuer
from broker.sts.client import StsClient
from broker.watch.clock import ClockWatch
from broker.watch.files import FileWatch
from broker.watch.metrics import Metrics
from broker.web.tls import ServerTls


def add_gauges(
    metrics: Metrics,
    *,
    recording: Recording,
    policy: PolicyReload,
    keys: AcceptorKeys,
    tls: ServerTls | None,
    files: FileWatch,
    sts: StsClient,
    issuer: Issuer,
    clock: ClockWatch,
) -> None:
    """Those whose value is looked up when somebody asks."""
    audit, hsm = recording.audit, recording.hsm
    metrics.gauge(
        "broker_config_last_reload_successful",
        "Whether the roles and rules of the configuration file are in force, as of the last reload",
        lambda: float(policy.is_well),
    )
    metrics.gauge(
        "broker_config_restart_needed",
        "Keys of the configuration file whose values a restart would change, as of the last reload",
        lambda: float(policy.restart_needed),
    )
    metrics.counter("broker_clock_jumps", "How often the wall clock was set while we ran", lambda: float(clock.jumps))
    metrics.gauge(
        "broker_clock_last_jump_seconds",
        "By how much the wall clock was set last, negative for back",
        lambda: clock.last,
    )
    metrics.gauge(
        "broker_audit_last_checkpoint_timestamp_seconds",
        "When the audit chain was last checkpointed",
        lambda: audit.last_checkpoint or 0.0,
    )
    metrics.counter(
        "broker_audit_lost_records",
        "Records that could not be written; nothing was handed out on them",
        lambda: float(audit.lost),
    )
    metrics.gauge(
        "broker_audit_waiting_records",
        "Records that wait behind those on their way to the disk",
        lambda: float(audit.waiting),
    )
    if hsm is not None:
        metrics.gauge(
            "broker_hsm_available",
            "Whether the HSM signed what it was last asked to",
            lambda: float(hsm.failure is None),
        )
    for name in files.faults:
        metrics.gauge(
            f"broker_{name}_last_reload_successful",
            f"Whether the {name} on disk are the ones in force",
            partial(files.is_well, name),
        )
    if tls is not None:
        metrics.gauge(
            "broker_tls_certificate_expiry_timestamp_seconds",
            "When the certificate that new connections are shown ends",
            lambda: tls.expires.timestamp(),  # noqa: PLW0108  # which certificate is in force changes
        )
    metrics.gauge(
        "broker_keytab_newest_key_timestamp_seconds",
        "When the newest key that tickets are accepted with was made",
        lambda: float(max(key.made_at for key in keys.keys)),
    )
    metrics.gauge(
        "broker_keytab_kvno",
        "The newest key version number that tickets are accepted with",
        lambda: float(max(key.kvno for key in keys.keys)),
    )
    _add_sts(metrics, sts, issuer)


def _add_sts(metrics: Metrics, sts: StsClient, issuer: Issuer) -> None:
    metrics.of_each(
        "broker_sts_calls",
        "Calls to STS, by region; those that are tried again count again",
        "region",
        lambda: {region: float(number) for region, number in sts.calls.items()},
        counts=True,
    )
    metrics.gauge("broker_sts_waiting_calls", "Calls that wait for their turn to ask STS", lambda: float(sts.waiting))
    metrics.gauge("broker_sts_waiting_places", "Chains that may wait; one more is refused", lambda: float(sts.places))
    metrics.gauge(
        "broker_fetches_in_flight", "Sets of credentials that are being fetched", lambda: float(issuer.fetches)
    )
