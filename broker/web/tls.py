"""The TLS side of the HTTP door: contexts that can be renewed while connections live.

A certificate and key that do not fit break a live context, so they are first loaded into a fresh one, which takes over only
when it is whole. Each connection remembers the context it was made with, and with it the certificate it saw.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from weakref import WeakKeyDictionary

from broker.core.errors import ConfigurationError
from broker.core.private_file import open_private

# What a certificate file is known by to the client (RFC 5929).
Binding = Callable[[bytes], bytes | None]
Expiry = Callable[[bytes], datetime]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where certificate and key lie, and what is spoken.

    ``client_ca`` demands a certificate of every client, ``must_bind`` a certificate of ours that tickets can be bound to.
    """

    certificate: Path
    private_key: Path
    minimum_version: ssl.TLSVersion
    ciphers: str
    client_ca: Path | None
    must_bind: bool


class ServerTls:
    """Give ``context`` to the listener; ``reload()`` when the files changed."""

    def __init__(self, *, files: TlsFiles, binding: Binding, expiry: Expiry) -> None:
        """Load the files.

        Raises:
            ConfigurationError: They do not fit together.
        """
        self._files = files
        self._binding_of_pem = binding
        self._expiry_of_pem = expiry
        self._expiries: WeakKeyDictionary[ssl.SSLContext, datetime] = WeakKeyDictionary()
        self._bindings: WeakKeyDictionary[ssl.SSLContext, bytes] = WeakKeyDictionary()
        self._seen = self._state()
        self._current = self._load()
        # The listener keeps this one for ever; each handshake is handed on to the newest (called with or without SNI).
        self.context = self._load()
        self.context.sni_callback = self._hand_on

    def reload(self) -> bool:
        """Take changed files over, for new connections; whether there was a change.

        Raises:
            ConfigurationError: The new files do not fit; the old ones go on.
        """
        state = self._state()
        if state == self._seen:
            return False
        self._current = self._load()
        self._seen = state  # Only now: what cannot be used is tried again, and stays a fault, until it is mended.
        return True

    @property
    def expires(self) -> datetime:
        """When the certificate that new connections are shown ends."""
        return self._expiries[self._current]

    def binding(self, connection: ssl.SSLObject | None) -> bytes | None:
        """What this connection's endpoint is known by; None without TLS."""
        return self._bindings.get(connection.context) if connection is not None else None

    def _hand_on(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def _load(self) -> ssl.SSLContext:
        files = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = files.minimum_version
        # No resumption (TLS 1.3): a client that resumes binds to the certificate in its memory, which may be the one before.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        try:
            context.set_ciphers(files.ciphers)
            open_private(files.private_key).close()  # A new key has to be as private as the first one.
            context.load_cert_chain(files.certificate, files.private_key)
            if files.client_ca is not None:
                context.load_verify_locations(files.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            pem = files.certificate.read_bytes()
            binding, self._expiries[context] = self._binding_of_pem(pem), self._expiry_of_pem(pem)
        except (ssl.SSLError, OSError, ValueError) as error:
            text = f"tls.certificate: {files.certificate} and {files.private_key} cannot be used together: {error}"
            raise ConfigurationError([f"{text} — fix: a PEM certificate chain and its own key"]) from error
        if binding is not None:
            self._bindings[context] = binding
        elif files.must_bind:
            # Otherwise "require" would quietly require nothing (RFC 5929 section 4.1 defines no binding for Ed25519).
            text = f"tls.certificate: {files.certificate} is signed in a way that no channel binding is defined for"
            fix = "use a certificate signed with RSA or ECDSA, or set kerberos.channel_binding: allow"
            raise ConfigurationError([f"{text} — fix: {fix}"])
        return context

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when a file is replaced or rewritten; a missing file is a state too."""
        paths = (self._files.certificate, self._files.private_key, self._files.client_ca)
        return tuple(_fingerprint(path) for path in paths if path is not None)


def _fingerprint(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)
