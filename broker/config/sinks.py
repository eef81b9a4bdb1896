"""The entries of `audit.sinks`: where records go beside the file."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from broker.config.fault import fault
from broker.config.section import Section
from broker.config.values import (
    AbsolutePath,
    AsText,
    Authorities,
    PrivateFile,
    ReadableFile,
    SecretText,
    Switch,
    is_loopback,
    matching,
    parse_host_name,
    split_url,
)
from broker.core.secret import Secret, SecretAtRest

_SYSLOG_PORT = 6514  # RFC 5425, section 4.1
_PORT_MAX = 65535
_KINDS = ("journald", "syslog", "splunk", "webhook")


def _server(text: str) -> str:
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(_SYSLOG_PORT)
    if not port.isdecimal() or not 0 < int(port[:6]) <= _PORT_MAX:
        raise fault("is not a server", "write HOST or HOST:PORT", shown=text)
    return f"{parse_host_name(host.strip('[]'))}:{int(port)}"


def _collector(text: str) -> str:
    url = split_url(text)
    if url.path not in ("", "/") or url.username is not None or not url.hostname:
        raise fault("is not the URL of a collector", "write https://HOST:8088; the path is Splunk's own")
    _require_https(url.scheme, url.hostname)
    return text.rstrip("/")


def _webhook(text: str) -> Secret:
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        raise fault("is not a URL", "write https://HOST/PATH") from None
    if not url.hostname or url.username is not None or url.fragment or not text.isprintable() or " " in text:
        raise fault("is not the URL of a webhook", "write https://HOST/PATH, without user and fragment")
    _require_https(url.scheme, url.hostname)
    return SecretAtRest(text)


def _require_https(scheme: str, host: str) -> None:
    if scheme != "https" and not (scheme == "http" and is_loopback(host)):
        raise fault("is not https", "use https://; http:// is for a receiver on loopback")


def _with_certificate(key: PrivateFile | None, info: ValidationInfo) -> PrivateFile | None:
    if (key is None) != (info.data.get("certificate") is None):
        raise fault("stands alone", "give both certificate and private_key, or neither")
    return key


_CA: TypeAlias = Annotated[
    Authorities | None,
    Field(description="PEM file: the authorities that sign the receiver's certificate. Without it: the system's."),
]


class Journald(Section):
    """systemd-journald, with a field for each member: `journalctl ZEROTRUST_USER=alice@EXAMPLE.COM`."""

    socket: AbsolutePath = Field(
        default="/run/systemd/journal/socket",  # validated like any other value
        validate_default=True,
        description="Where journald listens.",
    )


class Syslog(Section):
    """A syslog server, by TLS (RFC 5424, RFC 5425)."""

    server: Annotated[str, AsText(_server)] = Field(
        description="`HOST` or `HOST:PORT` (6514); its certificate must be for this name."
    )
    ca: _CA = None
    certificate: ReadableFile | None = Field(
        default=None, description="PEM file: the certificate that the broker shows. Without it: none."
    )
    private_key: Annotated[PrivateFile | None, AfterValidator(_with_certificate)] = Field(
        default=None, validate_default=True, description="PEM file with the certificate's key, mode 0600."
    )


class Splunk(Section):
    """Splunk's HTTP Event Collector."""

    url: Annotated[str, AsText(_collector)] = Field(description="`https://HOST:8088`; `http://` on loopback only.")
    token: SecretText = Field(description="Secret. The collector's token.")
    index: Annotated[str, matching(r"[a-z0-9_][a-z0-9_-]{0,79}", "is not an index", "write its name")] | None = Field(
        default=None, description="The index. Without it: the token's own."
    )
    acknowledge: Switch = Field(
        default=False,
        description="Wait until an indexer has the records; the token needs indexer acknowledgment. Not with `required`.",
    )
    ca: _CA = None


class Webhook(Section):
    """Any receiver of JSON arrays by POST."""

    url: Annotated[Secret, AsText(_webhook)] = Field(
        description="Secret, for many are guarded by nothing else. `https://HOST/PATH`; `http://` on loopback only."
    )
    bearer_token: SecretText | None = Field(
        default=None, description="Secret. Sent as `Authorization: Bearer`. Without it: nothing is."
    )
    hmac_key: SecretText | None = Field(
        default=None,
        description="Secret. `X-Zerotrust-Signature` is `sha256=` and the body's HMAC with it in hex. Without it: no signature.",
    )
    ca: _CA = None


def _confirmed_in_time(splunk: Splunk | None, info: ValidationInfo) -> Splunk | None:
    if splunk is not None and splunk.acknowledge and info.data.get("required"):
        raise fault("waits for an indexer, which takes longer than any request may", "remove acknowledge, or required")
    return splunk


def _one_kind(webhook: Webhook | None, info: ValidationInfo) -> Webhook | None:
    if any(kind not in info.data for kind in _KINDS[:-1]):
        return webhook  # One of the others has a fault of its own.
    given = [kind for kind in _KINDS[:-1] if info.data[kind] is not None] + (["webhook"] if webhook is not None else [])
    if len(given) != 1:
        what = (
            f"stands beside {' and '.join(given[:-1])}" if given else "is missing, and so is every other kind of sink"
        )
        raise fault(what, f"give each sink one of {', '.join(_KINDS)}")
    return webhook


class Sink(Section):
    """One receiver of every record. It gets them in order and at least once, however long it was away."""

    name: Annotated[
        str, matching(r"[a-z][a-z0-9_]{0,31}", "is not a name", "write small letters, digits and _, a letter first")
    ] = Field(description="For metrics, `/readyz` and the file of its cursor: a new name gets all records anew.")
    format: Literal["native", "ocsf", "ecs"] = Field(
        default="native", description="`native` (the record as it was signed), `ocsf` or `ecs`."
    )
    required: Switch = Field(
        default=False,
        description="Nothing is handed out before this sink has its record: while it is away, everybody gets 503.",
    )
    journald: Journald | None = Field(default=None, description="One of these four says what the sink is.")
    syslog: Syslog | None = Field(default=None, description="A syslog server, by TLS.")
    splunk: Annotated[Splunk | None, AfterValidator(_confirmed_in_time)] = Field(
        default=None, description="Splunk's HTTP Event Collector."
    )
    webhook: Annotated[Webhook | None, AfterValidator(_one_kind)] = Field(
        default=None, validate_default=True, description="Any receiver of JSON arrays by POST."
    )


def distinct(sinks: tuple[Sink, ...]) -> tuple[Sink, ...]:
    """Whether no two have one name, and with it one cursor."""
    names = [sink.name for sink in sinks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise fault(f"has two sinks named {twice}", "give each its own name")
    return sinks
