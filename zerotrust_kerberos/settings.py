"""Where the broker is and how to talk to it: flags, then ``ZEROTRUST_*``, then the user's file, then the machine's.

The first place that has a value wins, key by key. The files are ``$XDG_CONFIG_HOME/zerotrust/config.toml`` (``~/.config`` by
default) and ``/etc/zerotrust/client.toml``, flat TOML with the keys of ``KEYS``:

    broker_url = "https://broker.example.com:8443"
    ca_file    = "/etc/ssl/certs/example-ca.pem"   # default: the system's store
    role       = "developer"                       # default of --role
    timeout    = 5                                 # seconds for everything together, at most 10
    host       = "broker.example.com"              # for unix: only, default: the machine's own name
    spn        = "HTTP/broker@EXAMPLE.COM"         # default: HTTP@ and the host of broker_url, exactly as written there
    agent      = "/run/zerotrust-agent/agent.sock" # where an agent listens; default: here, or the user's own if there is one

An unknown key in a file is a fault, because a misspelt ``ca_file`` would otherwise be found out by nobody. In the environment
it is not: the daemon's variables begin with ``ZEROTRUST_`` too.
"""

from __future__ import annotations

import os

from zerotrust_kerberos.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("broker_url", "ca_file", "role", "timeout", "host", "spn", "agent")
SYSTEM_FILE = "/etc/zerotrust/client.toml"

# Seconds. The SDKs wait for ever, so the helper must not; ten is what the interface promises.
TIMEOUT_MAX = 10.0

_HOST_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_")
_NAME_CHARS = _HOST_CHARS
_SPN_CHARS = _HOST_CHARS | frozenset("/@")
_NAME_LENGTH_MAX = 64
_REASON_LENGTH_MAX = 200
_PORT_MAX = 65535
_DEFAULT_PORTS = {"https": 443, "http": 80}


class Broker:
    """Where the broker is.

    Attributes:
        url: As given, without a trailing slash.
        scheme: ``https``, ``http`` or ``unix``.
        host: The host for Kerberos, TLS and the Host header, exactly as written; IPv6 without brackets.
        port: Of TCP; 0 for ``unix``.
        path: Of the socket; empty for TCP.
        authority: The value of the Host header.
    """

    __slots__ = ("authority", "host", "path", "port", "scheme", "url")

    def __init__(self, *, url: str, scheme: str, host: str, port: int, path: str, authority: str) -> None:
        self.url = url
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.authority = authority


class Settings:
    """All that a command needs to know. ``spn`` is a host-based name (``HTTP@host``) or a principal (with a slash)."""

    __slots__ = ("agent", "broker", "ca_file", "reason", "role", "scope", "spn", "timeout")

    def __init__(
        self,
        *,
        broker: Broker,
        ca_file: str | None,
        role: str | None,
        scope: str | None,
        reason: str | None,
        spn: str,
        timeout: float,
        agent: str | None = None,
    ) -> None:
        self.broker = broker
        self.ca_file = ca_file
        self.role = role
        self.scope = scope
        self.reason = reason
        self.spn = spn
        self.timeout = timeout
        self.agent = agent


def load(flags: Mapping[str, str], environ: Mapping[str, str], *, system_file: str = SYSTEM_FILE) -> Settings:
    """Put the four places together.

    Raises:
        Failure: ``configuration``, naming the place and the fault.
    """
    found = _from_file(system_file) | _from_file(_user_file(environ))
    for key in KEYS:
        value = environ.get(f"ZEROTRUST_{key.upper()}")
        if value:
            found[key] = value
    found.update(flags)
    if "broker_url" not in found:
        raise Failure(
            "configuration", "no broker_url is set", fix="export ZEROTRUST_BROKER_URL=https://broker.example.com:8443"
        )
    broker = parse_url(found["broker_url"], unix_host=found.get("host"))
    return Settings(
        broker=broker,
        ca_file=_ca_file(found.get("ca_file")),
        role=_name(found.get("role"), "role"),
        # On the command line only: a default of some file would be refused by every role that has no such scope.
        scope=_name(flags.get("scope"), "scope"),
        # In no file: a reason is somebody's, now. In the environment, because the AWS tools run the helper without asking.
        reason=_reason(flags.get("reason") or environ.get("ZEROTRUST_REASON")),
        spn=_spn(found.get("spn"), broker),
        timeout=_timeout(found.get("timeout")),
        agent=_agent(found.get("agent")),
    )


def _reason(reason: str | None) -> str | None:
    if reason is not None and not (reason.strip() and reason.isprintable() and len(reason) <= _REASON_LENGTH_MAX):
        what = f"a reason has 1 to {_REASON_LENGTH_MAX} printable characters"
        raise Failure("configuration", what, fix="export ZEROTRUST_REASON='INC-1234: what for'")
    return reason


def parse_url(url: str, *, unix_host: str | None = None) -> Broker:
    """Take ``https://host[:port]``, ``http://host[:port]`` (loopback only) or ``unix:/path`` apart.

    Raises:
        Failure: ``configuration``.
    """
    scheme, colon, rest = url.partition(":")
    if colon and scheme == "unix":
        return _unix(rest, unix_host)
    if scheme not in _DEFAULT_PORTS or not rest.startswith("//"):
        raise _wrong("broker_url must begin with https://, http:// or unix:/", "https://broker.example.com:8443")
    authority = rest[2:].removesuffix("/")
    host, port = _host_and_port(authority, _DEFAULT_PORTS[scheme])
    if scheme == "http" and not is_loopback(host):
        # The credentials in the answer would cross the network in the clear.
        raise _wrong("http:// is for loopback only", f"https://{authority}")
    return Broker(url=f"{scheme}://{authority}", scheme=scheme, host=host, port=port, path="", authority=authority)


def is_loopback(host: str) -> bool:
    """Names that never leave the machine (RFC 6761, section 6.3) and the two addresses everybody writes."""
    name = host.lower()
    return name in {"localhost", "127.0.0.1", "::1"} or name.endswith(".localhost")


def _unix(path: str, host: str | None) -> Broker:
    if not path.startswith("/") or not path.isprintable():
        raise _wrong("unix: needs an absolute path", "unix:/run/zerotrust/broker.sock")
    # No DNS: the service's name must not depend on who answers a look-up.
    name = host or os.uname().nodename
    if not name or not _HOST_CHARS.issuperset(name):
        raise Failure("configuration", "host is not a host name", fix="export ZEROTRUST_HOST=$(hostname -f)")
    return Broker(url=f"unix:{path}", scheme="unix", host=name, port=0, path=path, authority=name)


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    if authority.startswith("["):
        host, bracket, tail = authority[1:].partition("]")
        good = bool(bracket) and bool(host) and frozenset("0123456789abcdefABCDEF:.").issuperset(host)
    else:
        host, colon, tail = authority.partition(":")
        tail = colon + tail
        good = bool(host) and _HOST_CHARS.issuperset(host)
    if not good or (tail and not tail.startswith(":")):
        raise _wrong("broker_url is not https://host[:port]", "https://broker.example.com:8443")
    return host, _port(tail[1:]) if tail else default


def _port(digits: str) -> int:
    if digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) <= _PORT_MAX:
        return int(digits)
    raise _wrong(f"the port in broker_url is not 1 to {_PORT_MAX}", "https://broker.example.com:8443")


def _wrong(detail: str, example: str) -> Failure:
    return Failure("configuration", detail, fix=f"export ZEROTRUST_BROKER_URL={example}")


def _name(name: str | None, what: str) -> str | None:
    if name is not None and not (0 < len(name) <= _NAME_LENGTH_MAX and _NAME_CHARS.issuperset(name)):
        raise Failure("usage", f"a {what} is 1 to 64 of A-Z a-z 0-9 . _ -", fix="zerotrust roles")
    return name


def _ca_file(path: str | None) -> str | None:
    if path is not None and (not path or not path.isprintable()):
        raise Failure("configuration", "ca_file is not a path", fix="export ZEROTRUST_CA_FILE=/path/to/ca.pem")
    return path


def _agent(path: str | None) -> str | None:
    if path is not None and not (path.startswith("/") and path.isprintable()):
        raise Failure("configuration", "agent is not an absolute path", fix="export ZEROTRUST_AGENT=/run/agent.sock")
    return path


def _spn(spn: str | None, broker: Broker) -> str:
    if spn is None:
        return f"HTTP@{broker.host}"
    if not spn or not _SPN_CHARS.issuperset(spn):
        raise Failure("configuration", "spn is not a service name", fix=f"export ZEROTRUST_SPN=HTTP@{broker.host}")
    return spn


def _timeout(seconds: str | None) -> float:
    if seconds is None:
        return TIMEOUT_MAX
    try:
        value = float(seconds)
    except ValueError:
        value = 0.0
    if not 0 < value <= TIMEOUT_MAX:  # also false for nan
        raise Failure("configuration", "timeout is not a number of seconds up to 10", fix="export ZEROTRUST_TIMEOUT=10")
    return value


def _user_file(environ: Mapping[str, str]) -> str:
    base = environ.get("XDG_CONFIG_HOME", "")
    # XDG Base Directory Specification: a relative path is invalid and must be ignored.
    if not base.startswith("/"):
        home = environ.get("HOME", "")
        base = f"{home}/.config" if home.startswith("/") else ""
    return f"{base}/zerotrust/config.toml" if base else ""


def _from_file(path: str) -> dict[str, str]:
    """The keys of one file as text; no file, no keys."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  pathlib would double the start-up time
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise Failure("configuration", f"{path}: {error.strerror}", fix=f"ls -l {_typed(path)}") from error
    return _keys_of(path, text)


def _keys_of(path: str, text: bytes) -> dict[str, str]:
    import tomllib  # noqa: PLC0415  12 ms, paid only where a file is there

    edit = f'"${{EDITOR:-vi}}" {_typed(path)}'
    try:
        found = tomllib.loads(text.decode())
    except ValueError as error:
        raise Failure("configuration", f"{path} is not TOML: {error}", fix=edit) from error
    for key, value in found.items():
        if key not in KEYS:
            raise Failure("configuration", f"{path}: unknown key {key}; known are {', '.join(KEYS)}", fix=edit)
        if isinstance(value, bool) or not isinstance(value, str if key != "timeout" else (int, float)):
            kind = "a number" if key == "timeout" else "a string"
            raise Failure("configuration", f"{path}: {key} must be {kind}", fix=edit)
    return {key: str(value) for key, value in found.items()}


def _typed(path: str) -> str:
    """A path as one word of a shell line."""
    return "'" + path.replace("'", "'\\''") + "'"
