"""Who is told of what the records show: the channels of the configuration, each with its words."""

from __future__ import annotations

import importlib.util
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from secrets import SystemRandom

from broker.audit.alert import Severity
from broker.audit.event import Event
from broker.audit.log import AuditLog
from broker.config.model import Settings
from broker.config.notification import ChannelEntry, Outgoing, Smtp
from broker.core.clock import Clock
from broker.keys.hierarchy import KeyHierarchy, Use
from broker.watch.breach import Notifier, Outlet
from broker.watch.channels import slack
from broker.watch.channels.pagerduty import PagerDuty
from broker.watch.channels.port import Channel
from broker.watch.channels.slack import Slack
from broker.watch.channels.webhook import Webhook
from broker.watch.gathering import Gathering
from broker.watch.metrics import Metrics
from broker.watch.notice import Notice, notice_of, rank
from broker.watch.spool import LeftSpool, Letter, SpoolFile
from broker.watch.wording import BrokenTemplate, Escape, Wording, plain

_PLACE = "security.breach_notification.channels"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a channel of one kind is made of its entry, for a broker of this name; and what its medium wants escaped."""

    made: Callable[[ChannelEntry, str, Clock], Channel]
    escape: Escape


def _email(entry: ChannelEntry, name: str, clock: Clock) -> Channel:
    # An extra of its own: who sends no mail needs none of it.
    from broker.watch.channels.email import Email, Server  # noqa: PLC0415

    email = entry.email
    assert email is not None  # noqa: S101  the entry's one key
    server = Server(
        host=email.smtp.host,
        port=email.smtp.port_number,
        tls=email.smtp.tls or "none",
        context=_tls(email.smtp),
        username=email.smtp.username,
        password=email.smtp.password,
    )
    sender = email.sender or f"zerotrust-broker@{name}"
    return Email(server=server, sender=sender, recipients=email.recipients, name=name, clock=clock)


def _slack(entry: ChannelEntry, _name: str, clock: Clock) -> Channel:
    assert entry.slack is not None  # noqa: S101  the entry's one key
    return Slack(webhook_url=entry.slack.webhook_url, clock=clock)


def _pagerduty(entry: ChannelEntry, name: str, clock: Clock) -> Channel:
    found = entry.pagerduty
    assert found is not None  # noqa: S101  the entry's one key
    return PagerDuty(integration_key=found.integration_key, url=found.url, source=name, clock=clock)


def _webhook(entry: ChannelEntry, _name: str, clock: Clock) -> Channel:
    found = entry.webhook
    assert found is not None  # noqa: S101  the entry's one key
    return Webhook(url=found.url, secret=found.secret, clock=clock, ca_file=found.ca_file)


CHANNELS: Mapping[str, _Kind] = {
    "email": _Kind(_email, plain),
    "slack": _Kind(_slack, slack.escape),
    "pagerduty": _Kind(_pagerduty, plain),
    "webhook": _Kind(_webhook, plain),
}


def problems_of(settings: Settings) -> list[str]:
    """What cannot be used of the channels: a template, or mail without the package that sends it."""
    problems = []
    for place, entry in enumerate(_entries(settings)):
        path = f"{_PLACE}[{place}].{entry.kind}"
        if entry.kind == "email" and importlib.util.find_spec("aiosmtplib") is None:
            fix = "pip install 'zerotrust-kerberos-link[broker,notify]'"
            problems.append(f"{path}: needs the package aiosmtplib — fix: {fix}")
        try:
            _wording(entry)
        except BrokenTemplate as error:
            problems.append(f"{path}.template: cannot be used: {error} — fix: see docs/notifications.md")
    return problems


def notifier_of(
    settings: Settings, *, hierarchy: KeyHierarchy, audit: AuditLog, metrics: Metrics, clock: Clock
) -> Notifier | None:
    """None where nobody is to be told. It sees events once it is among the log's observers."""
    entries = _entries(settings)
    if not entries:
        return None
    name = settings.server.hostnames[0] if settings.server.hostnames else socket.gethostname()
    outlets = {
        called: Outlet(
            channel=CHANNELS[entry.kind].made(entry, name, clock),
            wording=_wording(entry),
            min_severity=Severity(_outgoing(entry).min_severity),
        )
        for called, entry in zip(_names(entries), entries, strict=True)
    }
    notifier = Notifier(
        outlets=outlets,
        spool=_spool(settings, hierarchy),
        audit=audit,
        clock=clock,
        chance=SystemRandom().random,
    )
    metrics.gauge(
        "broker_notifications_waiting", "Notifications that are not delivered yet", lambda: float(notifier.waiting)
    )
    metrics.gauge(
        "broker_notification_channels_failing",
        "Channels that refused the last notification, or have taken none for minutes",
        lambda: float(len(notifier.failing)),
    )
    return notifier


def left_spool(settings: Settings, *, hierarchy: KeyHierarchy) -> LeftSpool:
    """What a broker with somebody to tell has left here, for one without."""
    return LeftSpool(spool=_spool(settings, hierarchy))


class Postbox:
    """An observer for programs that end before anything is delivered: the broker of this host does that, within a minute."""

    def __init__(self, settings: Settings, *, hierarchy: KeyHierarchy) -> None:
        self._entries = _entries(settings)
        self._spool = _spool(settings, hierarchy)
        self._gathering = Gathering()
        self._notices: list[Notice] = []

    def observe(self, event: Event) -> None:
        """Keep what is to be told."""
        notice = notice_of(event)
        if notice is not None:
            # All that such a program finds, it finds within one window.
            self._notices += self._gathering.take(notice, now=0.0)

    def leave(self) -> None:
        """Write it down.

        Raises:
            OSError: It is not.
        """
        letters = [
            Letter(channel=name, notice=notice)
            for notice in (*self._notices, *self._gathering.rest())
            for name, entry in zip(_names(self._entries), self._entries, strict=True)
            if rank(notice.severity) >= rank(Severity(_outgoing(entry).min_severity))
        ]
        if letters:
            self._spool.write([*self._spool.open(), *letters])
            self._spool.close()


def _entries(settings: Settings) -> tuple[ChannelEntry, ...]:
    found = settings.security.breach_notification if settings.security else None
    return found.channels if found is not None and found.enabled else ()


def _names(entries: tuple[ChannelEntry, ...]) -> list[str]:
    """``slack``, and ``slack-2`` for the second of the kind."""
    seen: Counter[str] = Counter()
    names = []
    for entry in entries:
        seen[entry.kind] += 1
        names.append(entry.kind if seen[entry.kind] == 1 else f"{entry.kind}-{seen[entry.kind]}")
    return names


def _outgoing(entry: ChannelEntry) -> Outgoing:
    found: Outgoing = getattr(entry, entry.kind)
    return found


def _wording(entry: ChannelEntry) -> Wording:
    return Wording(template=_outgoing(entry).template, escape=CHANNELS[entry.kind].escape)


def _spool(settings: Settings, hierarchy: KeyHierarchy) -> SpoolFile:
    return SpoolFile(directory=settings.state_directory, envelope=hierarchy.envelope(Use.NOTIFICATION_SEAL))


def _tls(smtp: Smtp) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(smtp.ca_file) if smtp.ca_file else None)
