"""A small broker's front for testing the user's side: it speaks real SPNEGO, real TLS, and HTTP as badly as a test wants.

The Kerberos is real: a GSS-API acceptor with the realm's keytab reads the ticket and makes the mutual-auth token. What is
answered is the test's choice, one `Reply` at a time: a function that gets the `Visit` and writes to the connection. So the
door can refuse, lie, dawdle and talk nonsense in ways that no broker may.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import gssapi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from broker import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDLESS = 64 * 1024 * 1024  # bytes after which even an endless answer gives up: the client should have hung up long ago
PATIENCE = 20.0  # seconds a connection may last; longer than any helper lives

CREDENTIALS = {
    "access_key_id": "ASIAFRONTDOORFRONTDO",
    "secret_access_key": "front/door+secret",
    "session_token": "FrontDoorToken//" * 50,
    "expiration": "2037-01-01T00:00:00Z",
    "account": "111122223333",
    "role_arn": "arn:aws:iam::111122223333:role/Developer",
}


@dataclass
class Visit:
    """One request: what was asked, by whom, and the mutual-auth token that proves us."""

    connection: socket.socket
    head: str
    body: bytes
    principal: str = ""
    mutual: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self, status: int, body: bytes, *headers: str) -> None:
        """Write one ordinary HTTP answer."""
        lines = [f"HTTP/1.1 {status} Spoken", f"Content-Length: {len(body)}", "Connection: close", *headers]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def negotiate(self, token: bytes | None = None) -> str:
        """The header with our token, or with another one."""
        return f"WWW-Authenticate: Negotiate {base64.b64encode(self.mutual if token is None else token).decode()}"

    def hang(self) -> None:
        """Say nothing more until the client has gone."""
        with contextlib.suppress(OSError):
            while self.connection.recv(4096):
                pass


class FrontDoor:
    """A listening door. `reply` may be exchanged at any time; `visits` are all requests so far.

    Attributes:
        url: Where it listens, for `ZEROTRUST_BROKER_URL`.
    """

    def __init__(self, listener: socket.socket, url: str, *, keytab: Path, tls: ssl.SSLContext | None) -> None:
        self.url = url
        self.visits: list[Visit] = []
        self.reply: Callable[[Visit], None] = credentials
        self._listener = listener
        self._tls = tls
        self._acceptor = gssapi.Credentials(usage="accept", store={"keytab": str(keytab)})
        self._accepting = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @classmethod
    def tcp(cls, keytab: Path, *, host: str = "localhost", tls: ssl.SSLContext | None = None, v6: bool = False) -> Self:
        """A door on a free port of 127.0.0.1 or ::1, called `host` in its URL."""
        listener = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
        listener.bind(("::1" if v6 else "127.0.0.1", 0))
        listener.listen(256)
        port = listener.getsockname()[1]
        return cls(listener, f"{'https' if tls else 'http'}://{host}:{port}", keytab=keytab, tls=tls)

    @classmethod
    def unix(cls, keytab: Path, path: Path) -> Self:
        """A door on a Unix socket."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(256)
        return cls(listener, f"unix:{path}", keytab=keytab, tls=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # shutdown wakes the accept that close alone would leave sleeping.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._visit, args=(connection,), daemon=True).start()

    def _visit(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        # A client that hangs up on us, in the handshake or in the middle of an answer, is what half of the tests are about.
        with connection, contextlib.suppress(OSError):
            if self._tls is None:
                self._read_and_reply(connection)
            else:
                with self._tls.wrap_socket(connection, server_side=True) as secured:
                    self._read_and_reply(secured)

    def _read_and_reply(self, connection: socket.socket) -> None:
        visit = _read(connection)
        self._authenticate(visit)
        self.visits.append(visit)
        self.reply(visit)

    def _authenticate(self, visit: Visit) -> None:
        """Fill in who it is; a ticket that does not count leaves the name empty."""
        scheme, _, token = visit.headers.get("authorization", "").partition(" ")
        if scheme != "Negotiate":
            return
        # One credential is shared: GSS-API serialises on it anyway.
        with self._accepting, contextlib.suppress(gssapi.exceptions.GSSError, binascii.Error):
            context = gssapi.SecurityContext(creds=self._acceptor, usage="accept")
            mutual = context.step(base64.b64decode(token, validate=True))
            if context.complete:
                visit.mutual, visit.principal = mutual or b"", str(context.initiator_name)


def _read(connection: socket.socket) -> Visit:
    held = b""
    while b"\r\n\r\n" not in held:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError("the client hung up")
        held += part
    head, _, body = held.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return Visit(connection=connection, head=head.decode("latin-1"), body=body, headers=headers)


# ---- replies ----


def credentials(visit: Visit) -> None:
    """What a broker does: 401 without a ticket, credentials and proof with one."""
    if not visit.principal:
        problem(401, "auth_failed")(visit)
        return
    visit.answer(200, wire.credentials_body(**CREDENTIALS), visit.negotiate(), f"Content-Type: {wire.JSON}")


def body(content: bytes) -> Callable[[Visit], None]:
    """A proven 200 with any body."""
    return lambda visit: visit.answer(200, content, visit.negotiate(), f"Content-Type: {wire.JSON}")


def problem(status: int, code: str, *headers: str, hint: str = "", request_id: str = "") -> Callable[[Visit], None]:
    """A refusal as RFC 9457 wants it."""
    members = {"title": "Refused", "status": status, "code": code, "hint": hint, "request_id": request_id}
    content = json.dumps(members).encode()
    return lambda visit: visit.answer(status, content, f"Content-Type: {wire.PROBLEM_JSON}", *headers)


def with_authentication(*headers: str) -> Callable[[Visit], None]:
    """Credentials with these headers instead of the mutual-auth token."""
    return lambda visit: visit.answer(200, wire.credentials_body(**CREDENTIALS), *headers)


def with_token(change: Callable[[bytes], bytes]) -> Callable[[Visit], None]:
    """Credentials with a changed mutual-auth token."""
    return lambda visit: visit.answer(200, wire.credentials_body(**CREDENTIALS), visit.negotiate(change(visit.mutual)))


def raw(content: bytes) -> Callable[[Visit], None]:
    """Exactly these bytes, then the end."""
    return lambda visit: visit.connection.sendall(content)


def raw_then_hang(content: bytes) -> Callable[[Visit], None]:
    """These bytes, then nothing for as long as the client waits."""

    def reply(visit: Visit) -> None:
        visit.connection.sendall(content)
        visit.hang()

    return reply


def endless(start: bytes, piece: bytes) -> Callable[[Visit], None]:
    """The start, then the piece again and again until the client hangs up."""

    def reply(visit: Visit) -> None:
        visit.connection.sendall(start)
        for _ in range(ENDLESS // len(piece)):
            visit.connection.sendall(piece)

    return reply


# ---- places that never answer, and certificates ----


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port of 127.0.0.1 where UDP and TCP arrive and nothing ever comes back."""
    with socket.socket(socket.AF_INET) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen(16)
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))
        yield port


def server_tls(folder: Path, *, host: str = "localhost", days: int = 1) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a fresh certificate for `host`, and the file with the authority that signed it.

    Args:
        folder: Where the two files go.
        host: The name, or the address, that the certificate is for.
        days: How long it is valid from now; negative for one that has ended.
    """
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"authority of {host}")])
    now = dt.datetime.now(dt.UTC)
    start = min(now, now + dt.timedelta(days=days)) - dt.timedelta(days=1)

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(now + dt.timedelta(days=days))
        )

    authority = (
        build(authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    with contextlib.suppress(ValueError):
        host_name: x509.GeneralName = x509.DNSName(host)
        host_name = x509.IPAddress(ipaddress.ip_address(host))
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "front door")])
    leaf = (
        build(subject, key.public_key())
        .add_extension(x509.SubjectAlternativeName([host_name]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    ca_file, server_file = folder / f"{host}-ca.pem", folder / f"{host}.pem"
    ca_file.write_bytes(authority.public_bytes(pem))
    server_file.touch(mode=0o600)
    server_file.write_bytes(
        leaf.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_file)
    return context, ca_file
