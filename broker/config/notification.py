"""The section `security`: who is told of what the records show, by which channels.

The form is the guide's: a list of channels, each an entry of one key that says its kind. URLs and keys that let anybody write in
our name are secrets.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.fault import fault
from broker.config.section import Section
from broker.config.values import (
    AsText,
    Authorities,
    HostName,
    PortNumber,
    SecretText,
    Switch,
    is_loopback,
    matching,
)
from broker.core.secret import Secret, SecretAtRest

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"

_PORTS = {"none": 25, "starttls": 587, "implicit": 465}
# Where a secret that signs messages begins, in the notation of the Standard Webhooks specification, 1.0.
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32,88}={0,2}")
_ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_NO_ADDRESS = ("is not a mail address", "write security@example.com")


def _url(text: str) -> Secret:
    """https, or http on loopback. A fault never shows it: whoever knows the URL may write in our name."""
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        raise fault("is not a URL", "write https://HOST/PATH") from None
    if not url.hostname or url.scheme not in ("http", "https") or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise fault("is not a URL", "write https://HOST/PATH")
    if url.username is not None or url.fragment:
        raise fault("has a user or a fragment in it", "write https://HOST/PATH")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise fault("is not https", "use https://; http:// is for loopback")
    return SecretAtRest(text)


def _one_word(text: str) -> Secret:
    if not re.fullmatch(r"[\x21-\x7e]{1,256}", text):
        raise fault("is not one word", "write it without spaces and line breaks")
    return SecretAtRest(text)


def _webhook_secret(text: str) -> Secret:
    if not _WEBHOOK_SECRET.fullmatch(text):
        raise fault(
            "is not a secret of a webhook", 'write what this prints: echo "whsec_$(head -c 32 /dev/urandom | base64)"'
        )
    return SecretAtRest(text)


def _fits_host(tls: str | None, info: ValidationInfo) -> str:
    host = info.data.get("host", "localhost")
    if tls is None:
        return "none" if is_loopback(host) else "starttls"
    return tls


def _with_password(username: str | None, info: ValidationInfo) -> str | None:
    if (username is None) != (info.data.get("password") is None):
        raise fault("stands alone", "give username and password_file, or neither")
    return username


_Template = Annotated[str, AsText(str)] | None
_TEMPLATE = (
    "A template of your own (Jinja): its first line is the subject, the rest the text. Usually as `template_file`. "
    "docs/notifications.md has the words that it can use. Without it: ours."
)


class Outgoing(Section):
    """What every channel can have."""

    min_severity: Literal["low", "medium", "high"] = Field(
        default="low", description="What is less severe is not sent here: `low`, `medium` or `high`."
    )
    template: _Template = Field(default=None, description=_TEMPLATE)


class Smtp(Section):
    """The mail server. Without this section: the one of this host, `localhost:25`."""

    host: HostName = Field(default="localhost", description="Its name.")
    tls: Annotated[Literal["starttls", "implicit"] | None, AfterValidator(_fits_host)] = Field(
        default=None,
        validate_default=True,
        description="`starttls` (demanded, never tried only) or `implicit`. Without it: `starttls`, or nothing on loopback.",
    )
    port: PortNumber | None = Field(
        default=None, description="Without it: 587 with `starttls`, 465 with `implicit`, 25 on loopback without either."
    )
    ca_file: Authorities | None = Field(
        default=None, description="PEM file of the CAs that sign its certificate. Without it: the system's."
    )
    password: SecretText | None = Field(default=None, description="Secret.")
    username: Annotated[Annotated[str, AsText(str)] | None, AfterValidator(_with_password)] = Field(
        default=None, validate_default=True, description="Who logs in, with `password`. Without both: nobody."
    )

    @property
    def port_number(self) -> int:
        """Where to connect to."""
        return self.port or _PORTS[self.tls or "none"]


class Email(Outgoing):
    """Mail, one to each recipient. Needs the extra `notify`: `pip install 'zerotrust-kerberos-link[broker,notify]'`."""

    recipients: tuple[Annotated[str, matching(_ADDRESS, *_NO_ADDRESS)], ...] = Field(
        min_length=1, description="Who gets it."
    )
    sender: Annotated[str, matching(_ADDRESS, *_NO_ADDRESS)] | None = Field(
        default=None,
        alias="from",
        description="The sender's address. Without it: `zerotrust-broker@` and the first of `server.hostnames`, else this host.",
    )
    smtp: Smtp = Field(default=Smtp.model_construct(tls="none"), description="The mail server.")


class Slack(Outgoing):
    """A channel of Slack, or of what takes the same messages (Mattermost, Rocket.Chat)."""

    webhook_url: Annotated[Secret, AsText(_url)] = Field(description="Secret. The URL of an incoming webhook.")


class PagerDuty(Outgoing):
    """An integration of the type Events API v2."""

    integration_key: Annotated[Secret, AsText(_one_word)] = Field(
        description="Secret. 32 characters, as PagerDuty shows it."
    )
    url: Annotated[Secret, AsText(_url)] = Field(
        default=PAGERDUTY_URL,
        validate_default=True,
        description="Another endpoint: `https://events.eu.pagerduty.com/v2/enqueue` for accounts of the EU.",
    )


class Webhook(Outgoing):
    """JSON to a URL of your own, signed as the Standard Webhooks specification says."""

    url: Annotated[Secret, AsText(_url)] = Field(description="Secret. Where to.")
    secret: Annotated[Secret, AsText(_webhook_secret)] | None = Field(
        default=None, description="Secret. Signs with HMAC-SHA256: `whsec_` and base64. Without it nothing is signed."
    )
    ca_file: Authorities | None = Field(
        default=None, description="PEM file of the CAs that sign its certificate. Without it: the system's."
    )


class ChannelEntry(Section):
    """One channel: one key, which says of which kind."""

    email: Email | None = Field(default=None, description="Mail.")
    slack: Slack | None = Field(default=None, description="Slack.")
    pagerduty: PagerDuty | None = Field(default=None, description="PagerDuty.")
    webhook: Webhook | None = Field(default=None, description="Any other program.")

    @property
    def kind(self) -> str:
        """Its one key."""
        return next(iter(self.model_fields_set))


def _one_kind(entry: ChannelEntry) -> ChannelEntry:
    if len(entry.model_fields_set) != 1:
        raise fault("is not one channel", "write one of email, slack, pagerduty and webhook for each entry of the list")
    return entry


def _somebody(enabled: bool, info: ValidationInfo) -> bool:  # noqa: FBT001  pydantic's form
    if enabled and info.data.get("channels") == ():
        raise fault("is true, and nobody would be told", "add channels, or set it to false")
    return enabled


class BreachNotification(Section):
    """Who is told when a record says that something is wrong."""

    channels: tuple[Annotated[ChannelEntry, AfterValidator(_one_kind)], ...] = Field(
        default=(),
        description="Each entry has one key: `email`, `slack`, `pagerduty` or `webhook`. `zerotrust-admin` and the records call "
        "a channel by its kind, the second of a kind `slack-2`.",
    )
    enabled: Annotated[Switch, AfterValidator(_somebody)] = Field(
        default=True, validate_default=True, description="`false` tells nobody."
    )


class Security(Section):
    """What happens beside answering requests."""

    breach_notification: BreachNotification | None = Field(
        default=None, description="Who is told when a record says that something is wrong. Without it: nobody."
    )
