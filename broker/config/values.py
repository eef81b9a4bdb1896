"""The kinds of values that keys take. Each is written as text; each refuses with what is wrong and what to write instead."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator
from pydantic_core import CoreSchema, core_schema

from broker.config.fault import fault
from broker.core.file_secret import secret_of
from broker.core.private_file import PermissionProblem, open_private, private_files
from broker.core.rate import Rate
from broker.core.secret import Secret, SecretAtRest, Unasked

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Where a broker listens whose configuration does not say so.
DEFAULT_LISTEN = ("https://0.0.0.0:8443",)

EXTERNAL_ID_FORM = "use 2 to 1224 letters, digits and _+=,.@:/-"

# AES-256.
ENCRYPTION_KEY_BYTES = 32

# How os.environ holds bytes that are no UTF-8 (PEP 383).
_SURROGATE = re.compile("[\ud800-\udfff]")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PERIODS = {"second": 1, "minute": 60, "hour": 3600}
_RATE = re.compile(r"([0-9]{1,7})/(second|minute|hour)")
_DURATION = re.compile(r"([0-9]{1,6})([smhd])")
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*")
_LISTEN = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[^/\[\]:@]+):([0-9]{1,5})")
_PORT_MAX = 65535
# sockaddr_un.sun_path is 108 bytes with its terminating NUL (unix(7)).
_SOCKET_PATH_MAX_BYTES = 107


class AsText:
    """Marks a field that is written as text in YAML and made by one function."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make = make

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        # What a vault keeps and nobody asked for is no text, and is judged where it is read.
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, Unasked) else self._make(_text(value))
        )


def _text(value: object) -> str:
    if isinstance(value, str):
        if not value:
            raise fault("is empty", "give it a value, or remove the key")
        if _SURROGATE.search(value):
            raise fault("is not UTF-8 text", "encode it as UTF-8")
        return value
    if isinstance(value, bool):
        raise fault("is true or false, not text", "put it in quotes if that is what you mean")
    if isinstance(value, int):
        raise fault("is a number, not text", "put it in quotes, or YAML drops its leading zeros")
    raise fault("is a list or mapping, not text", "write one value")


def parse_duration(text: str) -> timedelta:
    """``900s``, ``30m``, ``1h`` or ``90d``."""
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise fault("is not a duration", "write a number and its unit: 900s, 30m, 1h or 90d", shown=text)
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def duration_text(duration: timedelta) -> str:
    """The shortest text that ``parse_duration()`` reads as this many whole seconds."""
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in "dhms" if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"


def parse_rate(text: str) -> Rate:
    """``60/minute``."""
    match = _RATE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise fault("is not a rate", "write a number and its period: 60/minute (or second, hour)", shown=text)
    return Rate(number=int(match[1]), seconds=_PERIODS[match[2]])


def parse_network(text: str) -> Network:
    """CIDR, or one address; bits behind the prefix are a slip, not a network."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise fault("is not a network", "write it as 10.0.0.0/8 or fd00::/8", shown=text) from None
    raise fault("has bits set behind the prefix", f"write {meant}, or {text.partition('/')[0]} alone", shown=text)


def is_address(host: str) -> bool:
    """Whether a host is written as an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """127.0.0.0/8, ::1 or ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class TcpListener:
    """``https://HOST:PORT``, or ``http://HOST:PORT`` on loopback. Port 0: any free one."""

    tls: bool
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixListener:
    """``unix:/PATH``. Any local account may connect, or only the broker's group and root (``is_private``)."""

    path: Path
    is_private: bool = False

    def __str__(self) -> str:
        return f"unix:{self.path}"


Listener = TcpListener | UnixListener


def parse_socket_path(text: str) -> Path:
    """An absolute path that the kernel can take."""
    path = parse_path(text)
    if len(os.fsencode(path)) > _SOCKET_PATH_MAX_BYTES:
        raise fault(f"is longer than the {_SOCKET_PATH_MAX_BYTES} bytes of a socket's path", "choose a shorter path")
    return path


def parse_listener(text: str) -> Listener:
    """One of the three kinds of addresses."""
    if text.startswith("unix:"):
        return UnixListener(parse_socket_path(text.removeprefix("unix:")))
    match = _LISTEN.fullmatch(text)
    if match is None or int(match[3]) > _PORT_MAX or not _is_host(match[2].strip("[]")):
        fix = "write https://HOST:PORT, http://127.0.0.1:PORT or unix:/PATH"
        raise fault("is not an address to listen on", fix, shown=text)
    listener = TcpListener(tls=match[1] == "https", host=match[2].strip("[]"), port=int(match[3]))
    if not listener.tls and not is_loopback(listener.host):
        fix = "use https://, or listen on 127.0.0.1, ::1 or localhost"
        raise fault("is plain http beyond loopback", fix, shown=text)
    return listener


def parse_host_name(text: str) -> str:
    """In lower case, as Host headers are compared."""
    if not _is_host(text):
        raise fault("is not a host name", "write the name alone, without scheme or port", shown=text)
    return text.lower()


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return "%" not in text  # a zone (fe80::1%eth0) means nothing to the other side


def parse_path(text: str) -> Path:
    """From the root on. The fault does not show the text: a key pasted in a path's place would be in it."""
    if not text.startswith("/") or "\0" in text:
        raise fault("is not an absolute path", "write the path from / on")
    return Path(text)


def _readable(path: Path) -> Path:
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        what = f"cannot be read ({os.strerror(error.errno or 0)})"
        raise fault(what, "create it, correct the path, or let the broker's account read it", shown=str(path)) from None


def _authorities(path: Path) -> Path:
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        raise fault("holds no certificates", "name a PEM file", shown=str(path)) from None
    return path


def _private(path: Path) -> Path:
    try:
        open_private(path).close()
    except PermissionProblem as problem:
        raise fault(problem.what, problem.fix, shown=str(path)) from None
    return path


def _private_keytab(path: Path) -> Path:
    try:
        files = private_files(path)
        for file in files:
            open_private(file).close()
    except PermissionProblem as problem:
        raise fault(problem.what, problem.fix, shown=str(problem.path)) from None
    if not files:
        raise fault("is an empty folder", "put a keytab there", shown=str(path))
    return path


def _port(value: object) -> int:
    """A number, or its digits where it comes from the environment."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:6])
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _PORT_MAX:
        raise fault("is not a port", f"write a number from 1 to {_PORT_MAX}")
    return value


def split_url(text: str) -> SplitResult:
    """A URL with a host or a path. Faults never show it: it may carry a password.

    Raises:
        PydanticCustomError: Not a URL, a bad port, a password, a query or a fragment in it.
    """
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        raise fault("is not a URL", "write scheme://host:port") from None
    if url.password is not None:
        raise fault("has a password in it", "take it out of the URL and use password_file")
    if url.query or url.fragment or not text.isprintable() or " " in text:
        raise fault("has more than scheme, host, port and path", "remove what begins with ? or #, and spaces")
    return url


def parse_https(text: str) -> str:
    """Of a vault or a key service. https, or http on loopback: everything that passes there is secret."""
    url = split_url(text)
    if not url.hostname or url.username is not None:
        raise fault("is not the URL of a server", "write https://HOST:PORT")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname)):
        raise fault("is not https", "use https://; http:// is for loopback")
    return text.rstrip("/")


def parse_sts_endpoint(text: str) -> str:
    """https, or http to a test double on loopback."""
    if split_url(text).path not in ("", "/"):
        raise fault("is not an endpoint", "write https://HOST or https://HOST:PORT")
    return _endpoint(text).rstrip("/")


def parse_signin_endpoint(text: str) -> str:
    """The same, with the path of the federation service: its answer is where browsers are sent."""
    if split_url(text).path != "/federation":
        raise fault("is not a sign-in endpoint", "write https://HOST/federation")
    return _endpoint(text)


def _endpoint(text: str) -> str:
    url = split_url(text)
    if url.username is not None or not url.hostname:
        raise fault("is not an endpoint", "write https://HOST or https://HOST:PORT")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname)):
        raise fault("is not https", "use https://; http:// is for a test double on loopback")
    return text


def parse_issuer(text: str) -> str:
    """As IAM takes them and tokens repeat them, letter by letter: OpenID Connect Discovery 1.0, section 3, ``issuer``."""
    url = split_url(text)
    if url.scheme != "https" or url.username is not None or not url.hostname or url.port is not None:
        raise fault(
            "is not the URL of an issuer", "write https://HOST or https://HOST/PATH, as the provider in IAM has it"
        )
    if text.endswith("/") or url.hostname not in text:
        raise fault("is not how IAM writes it", "write the host in small letters, and no slash at the end")
    return text


def parse_ldap_url(text: str) -> str:
    """ldaps, or ldap, which is encrypted by Kerberos itself. By name: tickets are for names."""
    if "@" in text:
        raise fault("names a user", "take it out: the broker shows itself by Kerberos")
    url = split_url(text)
    if url.scheme not in ("ldaps", "ldap") or url.path not in ("", "/"):
        raise fault("is not the URL of a directory", "write ldaps://HOST or ldap://HOST")
    if not url.hostname or is_address(url.hostname):
        raise fault("has no host name, and no Kerberos ticket is for an address", "write ldaps://HOST")
    return text.rstrip("/")


def parse_key(text: str) -> Secret:
    """Base64 of exactly 32 bytes, in either alphabet, padded or not."""
    if _key_bytes(text) is None:
        fix = "head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE"
        raise fault(f"is not {ENCRYPTION_KEY_BYTES} bytes in base64", fix)
    return SecretAtRest(text)


def key_bytes(key: Secret) -> bytes:
    """What ``parse_key()`` accepted, decoded."""
    decoded = _key_bytes(key.reveal())
    if decoded is None:
        raise ValueError("not a key that parse_key() made")
    return decoded


def _key_bytes(text: str) -> bytes | None:
    standard = text.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        decoded = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if len(decoded) == ENCRYPTION_KEY_BYTES else None


def matching(pattern: str, what: str, fix: str, *, shown: bool = True) -> AsText:
    """Text of one form; ``shown``: whether a fault may quote it."""
    compiled = re.compile(pattern)

    def make(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise fault(what, fix, shown=text if shown else None)
        return text

    return AsText(make)


def _switch(value: object) -> object:
    # The environment knows text only.
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


AbsolutePath = Annotated[Path, AsText(parse_path)]
ReadableFile = Annotated[AbsolutePath, AfterValidator(_readable)]
Authorities = Annotated[ReadableFile, AfterValidator(_authorities)]
PrivateFile = Annotated[AbsolutePath, AfterValidator(_private)]
Keytab = Annotated[AbsolutePath, AfterValidator(_private_keytab)]
ONE_OR_MANY = BeforeValidator(_one_or_many)
Keytabs = Annotated[tuple[Keytab, ...], ONE_OR_MANY, Field(min_length=1)]
Switch = Annotated[bool, BeforeValidator(_switch)]
SecretText = Annotated[Secret, AsText(secret_of)]
Duration = Annotated[timedelta, AsText(parse_duration)]
RateText = Annotated[Rate, AsText(parse_rate)]
Networks = Annotated[tuple[Annotated[Network, AsText(parse_network)], ...], Field(min_length=1)]
PortNumber = Annotated[int, PlainValidator(_port)]
HostName = Annotated[str, AsText(parse_host_name)]
AccountNumber = Annotated[
    str, matching(r"[0-9]{12}", "is not an AWS account number", 'write its twelve digits in quotes: "012345678901"')
]
