"""What records go to beside the file, made from the configuration."""

from __future__ import annotations

import ssl
from pathlib import Path
from secrets import SystemRandom

from broker.audit.sinks.ecs import ecs
from broker.audit.sinks.forward import Format, Forwarder
from broker.audit.sinks.http import Post, Splunk, Webhook
from broker.audit.sinks.journald import Journald
from broker.audit.sinks.ocsf import ocsf
from broker.audit.sinks.parcel import Sink
from broker.audit.sinks.syslog import SyslogTls
from broker.config import sinks as sections
from broker.config.audit import Audit
from broker.core.clock import Clock
from broker.watch.metrics import Metrics

_FORMATS: dict[str, Format] = {"native": lambda _, line: line, "ocsf": ocsf, "ecs": ecs}


def forwarders_of(section: Audit, *, clock: Clock, metrics: Metrics) -> list[Forwarder]:
    """One for each sink; nothing is connected yet. To be called inside the running event loop."""
    made = [
        Forwarder(
            name=entry.name,
            sink=_sink(entry, clock=clock),
            form=_FORMATS[entry.format],
            required=entry.required,
            directory=section.directory,
            chance=SystemRandom().random,
        )
        for entry in section.sinks
    ]
    metrics.of_each(
        "broker_audit_sink_behind_records",
        "Records of this process that are on its disk and not confirmed by the sink",
        "sink",
        lambda: {sink.name: float(sink.behind) for sink in made},
    )
    metrics.of_each(
        "broker_audit_sink_failures",
        "Tries that a sink did not confirm",
        "sink",
        lambda: {sink.name: float(sink.failures) for sink in made},
        counts=True,
    )
    metrics.of_each(
        "broker_audit_sink_set_aside_records",
        "Records that a sink will not take: they are in the record file only",
        "sink",
        lambda: {sink.name: float(sink.set_aside) for sink in made},
        counts=True,
    )
    return made


def sink_problems(section: Audit) -> list[str]:
    """What is wrong with certificates and keys of clients."""
    found = []
    for index, entry in enumerate(section.sinks):
        if entry.syslog is not None:
            try:
                client_context(entry.syslog)
            except (ssl.SSLError, OSError):
                where = f"audit.sinks[{index}].syslog.private_key"
                found.append(f"{where}: does not belong to the certificate — fix: name the files of one pair, in PEM")
    return found


def _sink(entry: sections.Sink, *, clock: Clock) -> Sink:
    if entry.journald is not None:
        return Journald(path=entry.journald.socket)
    if entry.syslog is not None:
        host, _, port = entry.syslog.server.rpartition(":")
        return SyslogTls(host=host, port=int(port), context=client_context(entry.syslog))
    if entry.splunk is not None:
        return Splunk(
            post=Post(context=context_for(entry.splunk.ca), clock=clock),
            url=entry.splunk.url,
            token=entry.splunk.token,
            index=entry.splunk.index,
            form=entry.format,
            acknowledge=entry.splunk.acknowledge,
        )
    if entry.webhook is None:
        # Refused at loading.
        raise ValueError(f"the sink {entry.name} is of no kind")
    post = Post(context=context_for(entry.webhook.ca), clock=clock)
    return Webhook(post=post, url=entry.webhook.url, bearer=entry.webhook.bearer_token, hmac_key=entry.webhook.hmac_key)


def client_context(section: sections.Syslog) -> ssl.SSLContext:
    """With the certificate that the broker shows, where it has one."""
    context = context_for(section.ca)
    if section.certificate is not None and section.private_key is not None:
        context.load_cert_chain(section.certificate, section.private_key)
    return context


def context_for(ca: Path | None) -> ssl.SSLContext:
    """Names are checked, and nothing older than TLS 1.2 is spoken, whatever the system's configuration says."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
