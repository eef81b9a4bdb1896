"""The section `redis`: where the one is that instances share, by an address, by sentinels, or as a cluster.

Whatever leads there, nothing is spoken in the clear beyond loopback: an address that a sentinel or a cluster names later is held
to the same (``broker.assembly.shared``).
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from broker.config.fault import absence, fault
from broker.config.section import Section
from broker.config.values import (
    AsText,
    Authorities,
    PrivateFile,
    ReadableFile,
    SecretText,
    is_loopback,
    matching,
    split_url,
)

# redis.io: where Redis and its sentinels listen unless told otherwise.
PORT, SENTINEL_PORT = 6379, 26379

# More than half of the replicas that a sensible set has; nobody waits for ten machines.
_REPLICAS_MAX = 9

_PATH = re.compile(r"/?|/[0-9]{1,3}")

_Name: TypeAlias = Annotated[str, matching(r"[A-Za-z0-9._-]{1,120}", "is not a name", "write it as Redis has it")]


def parse_redis_url(text: str) -> str:
    """rediss, redis on loopback, or unix. The query is refused with all URLs: redis-py takes ``ssl_cert_reqs=none`` there."""
    url = split_url(text)
    if url.scheme == "unix":
        if not url.path.startswith("/") or url.hostname:
            raise fault("names no socket", "write unix:///PATH")
        return text
    if url.scheme not in ("redis", "rediss") or not url.hostname or _PATH.fullmatch(url.path) is None:
        raise fault("is not a Redis URL", "write rediss://HOST:PORT/DB, redis://127.0.0.1:6379/DB or unix:///PATH")
    if url.scheme == "redis" and not is_loopback(url.hostname):
        raise fault("is plain redis beyond loopback", "use rediss:// (TLS)")
    return text


def parse_redis_host(text: str) -> str:
    """Of a sentinel, or of a cluster: rediss, or redis on loopback, and a host."""
    url = split_url(text)
    if url.scheme not in ("redis", "rediss") or not url.hostname or url.path not in ("", "/") or "@" in text:
        raise fault("is not the address of a Redis host", "write rediss://HOST:PORT, or redis://127.0.0.1:PORT")
    if url.scheme == "redis" and not is_loopback(url.hostname):
        raise fault("is plain redis beyond loopback", "use rediss:// (TLS)")
    return text


def _count(value: object) -> int:
    """A number, or its digits where it comes from the environment."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:6])
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _REPLICAS_MAX:
        raise fault("is not a number of replicas", f"write a number from 0 to {_REPLICAS_MAX}")
    return value


def _of_one_scheme(hosts: tuple[str, ...]) -> tuple[str, ...]:
    if len({urlsplit(host).scheme for host in hosts}) > 1:
        raise fault("mixes redis and rediss", "use rediss:// (TLS) for all of them")
    return hosts


Hosts: TypeAlias = Annotated[
    tuple[Annotated[str, AsText(parse_redis_host)], ...], Field(min_length=1), AfterValidator(_of_one_scheme)
]


def _with_certificate(key: PrivateFile | None, info: ValidationInfo) -> PrivateFile | None:
    if (key is None) != (info.data.get("certificate") is None):
        raise fault("stands alone", "give both certificate and private_key, or neither")
    return key


class RedisTls(Section):
    """For `rediss://`, to Redis and to sentinels. A certificate must be for the host that is spoken to, an address too."""

    ca: Authorities | None = Field(
        default=None,
        description="PEM file: the authorities that sign Redis's certificates. Without it: the system's, which is for `url` "
        "alone: sentinels and clusters lead to other hosts, and those must not be anybody's.",
    )
    certificate: ReadableFile | None = Field(
        default=None, description="PEM file: the certificate that the broker shows. Without it: none."
    )
    private_key: Annotated[PrivateFile | None, AfterValidator(_with_certificate)] = Field(
        default=None, validate_default=True, description="PEM file with the certificate's key, mode 0600."
    )


class RedisSentinel(Section):
    """Sentinels say which Redis is the primary, and make another one when it is gone."""

    hosts: Hosts = Field(
        description="`rediss://HOST[:PORT]` (26379) of each sentinel; `redis://` on loopback. What they lead to is spoken to "
        "in the same way, with TLS or without."
    )
    service: _Name = Field(description="What the sentinels call it: the name in `sentinel monitor NAME ...`.")
    username: _Name | None = Field(
        default=None, description="The account at the sentinels. Without it: `default`, where there is a password."
    )
    password: SecretText | None = Field(default=None, description="Secret. Of the sentinels. Without it: none is sent.")


class RedisCluster(Section):
    """Redis Cluster: hosts that share the keys, each with replicas."""

    hosts: Hosts = Field(
        description="`rediss://HOST[:PORT]` (6379) of some of them; `redis://` on loopback. They name the others."
    )


class Redis(Section):
    """What instances share: cache, replay guard, revocations, limits. One of `url`, `sentinel` and `cluster` says where it is."""

    url: Annotated[str, AsText(parse_redis_url)] | None = Field(
        default=None, description="`rediss://[USER@]HOST[:PORT][/DB]`, `unix:///PATH`, or `redis://` on loopback."
    )
    sentinel: RedisSentinel | None = Field(default=None, description="Sentinels that know the primary.")
    cluster: RedisCluster | None = Field(default=None, description="A Redis Cluster.")
    username: _Name | None = Field(
        default=None, description="The broker's account at Redis. Without it: the user of `url`, else `default`."
    )
    password: SecretText | None = Field(default=None, description="Secret.")
    replicas: Annotated[int, PlainValidator(_count)] | None = Field(
        default=None,
        description="How many replicas must have what must not be lost (that a ticket was used, that a pass was cancelled, a "
        "secret) before it counts: more than half of a set with its primary. Without it: 1 with `sentinel` or `cluster`, else 0.",
    )
    tls: RedisTls | None = Field(default=None, description="What `rediss://` is spoken with.")

    @property
    def must_be_told(self) -> int:
        """How many replicas must have what must not be lost."""
        return self.replicas if self.replicas is not None else int(self.url is None)

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """Of the sentinels, or of the cluster, with their ports; none with `url`."""
        if self.sentinel is not None:
            return tuple(_host(each, SENTINEL_PORT) for each in self.sentinel.hosts)
        return tuple(_host(each, PORT) for each in self.cluster.hosts) if self.cluster is not None else ()

    @property
    def uses_tls(self) -> bool:
        """Whether everything there is spoken by TLS."""
        section = self.sentinel or self.cluster
        return (self.url or (section.hosts[0] if section else "")).startswith("rediss:")


def _host(text: str, port: int) -> tuple[str, int]:
    url = urlsplit(text)
    return url.hostname or "", url.port or port


def _one_place(section: Redis) -> Redis:
    named = [name for name in ("url", "sentinel", "cluster") if getattr(section, name) is not None]
    if not named:
        raise absence("does not say where Redis is", "give one of url, sentinel and cluster")
    if len(named) > 1:
        raise fault(f"has {' and '.join(named)}", "give exactly one of url, sentinel and cluster")
    if section.username is not None and section.url is not None and "@" in section.url:
        raise fault("names two users", "write username, or USER@ in url")
    if section.tls is not None and not section.uses_tls:
        raise fault("has tls, and no rediss://", "write rediss:// where Redis is, or leave tls out")
    if section.url is None and section.uses_tls and (section.tls is None or section.tls.ca is None):
        # Whoever can be led somewhere else must not believe each host in the world that has a certificate.
        raise fault(
            "says not whose certificates count where it is led", "give tls.ca: the authority of these hosts alone"
        )
    return section


RedisSection: TypeAlias = Annotated[Redis, AfterValidator(_one_place)]
