"""The section `telemetry`: where traces go."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from broker.config.fault import fault
from broker.config.section import Section
from broker.config.values import AsText, is_loopback, split_url


def _collector(text: str) -> str:
    url = split_url(text)
    if url.scheme not in ("https", "http") or not url.hostname or url.username is not None or url.query or url.fragment:
        raise fault("is not the address of a collector", "write https://HOST:4318/v1/traces")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise fault("is not https", "use https://; http:// is for a collector on loopback")
    return text


class Telemetry(Section):
    """Traces by OpenTelemetry, which needs the extra `otel`: [Monitoring](monitoring.md#traces)."""

    otlp_endpoint: Annotated[str, AsText(_collector)] | None = Field(
        default=None,
        description="Where OTLP over HTTP is taken: `https://HOST:4318/v1/traces`; `http://` on loopback only. Without it: none.",
    )
