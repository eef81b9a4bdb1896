"""Speaks LDAP (RFC 4511): authenticate by Kerberos, search, nothing else. What it asks and hears is never in the clear.

The bindings of the C libraries hold Python's lock while they bind, so that a directory that stands still would stop the whole
broker (ADR 0008). Here only a coroutine waits, and whoever calls sets the deadline. Filters are values in a tree, never text:
there is nothing that a name could break out of (RFC 4515).

    TCP, or TLS -> SASL GSSAPI (RFC 4752), mutual; it encrypts where TLS does not -> searches, one at a time
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from gssapi import raw

from broker.authn.initiator import PIECE_MAX, Initiator, Layer
from broker.core.errors import DirectoryUnavailable
from broker.keys.certificate import end_point_binding

_PORTS = {"ldap": 389, "ldaps": 636}

# Octets. What is asked for here is names and identifiers; an answer beyond this is no answer to it.
_MESSAGE_MAX = 4 * 1024 * 1024
# Entries that a search may find; the server stops there and says so.
_ENTRIES_MAX = 1_000

# BER tags: universal ones, those of RFC 4511's messages, and of its filters.
_INTEGER, _OCTETS, _ENUMERATED, _BOOLEAN, _SEQUENCE = 0x02, 0x04, 0x0A, 0x01, 0x30
_BIND, _BIND_ANSWER, _SASL, _SASL_ANSWER = 0x60, 0x61, 0xA3, 0x87
_SEARCH, _ENTRY, _DONE, _REFERENCE = 0x63, 0x64, 0x65, 0x73
_AND, _OR, _EQUAL = 0xA0, 0xA1, 0xA3
# X.690 section 8.1.3: lengths below this are one octet; else it says how many follow.
_LONG_LENGTH = 0x80
_LENGTH_OCTETS_MAX = 4

_VERSION = 3
# RFC 4511 section 4.5.1.2.
BASE, SUBTREE = 0, 2

# RFC 4511 appendix A.
_SUCCESS, _SASL_IN_PROGRESS, _NO_SUCH_OBJECT = 0, 14, 32
_REASONS = {
    3: "directory_timeout",
    4: "directory_limit",
    8: "directory_refused_us",
    11: "directory_limit",
    13: "directory_refused_us",
    _NO_SUCH_OBJECT: "directory_base_unknown",
    48: "directory_refused_us",
    49: "directory_refused_us",
    50: "directory_refused_us",
}


class MalformedAnswer(ValueError):
    """What the server sent is not LDAP, or no answer to what was asked."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object. Attribute names are in lower case: servers write them as they like (RFC 4512 section 2.5)."""

    dn: str
    attributes: Mapping[str, tuple[bytes, ...]]

    def values(self, attribute: str) -> tuple[bytes, ...]:
        """As they are on the wire; none where the entry has no such attribute, or hides it from us."""
        return self.attributes.get(attribute.lower(), ())


def equal(attribute: str, value: str) -> bytes:
    """A filter: entries that have this value, compared as the attribute's own matching rule does."""
    return _tlv(_EQUAL, _octets(attribute), _octets(value))


def all_of(*filters: bytes) -> bytes:
    """A filter: entries for which each of these holds."""
    return _tlv(_AND, *filters)


def any_of(filters: Iterable[bytes]) -> bytes:
    """A filter: entries for which one of these holds."""
    return _tlv(_OR, *filters)


# A filter: every entry.
ANYTHING = b"\x87\x0bobjectClass"
# An attribute list: none (RFC 4511 section 4.5.1.8).
NO_ATTRIBUTES = ("1.1",)


class Connection:
    """To one server, authenticated. After any exception, cancellation included, it can only be closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._layer: Layer | None = None
        self._opened = bytearray()
        self._number = 0

    @classmethod
    async def open(cls, url: str, *, tls: ssl.SSLContext | None, initiator: Initiator) -> Connection:
        """Connect and authenticate.

        Args:
            url: ``ldaps://HOST[:PORT]``, or ``ldap://HOST[:PORT]``.
            tls: For ``ldaps``; None for ``ldap``, where SASL encrypts.
            initiator: Who we are.

        Raises:
            DirectoryUnavailable: Out of reach, or one of the two does not know the other.
        """
        where = urlsplit(url)
        host, port = where.hostname or "", where.port or _PORTS[where.scheme]
        with _explained():
            streams = await asyncio.open_connection(host, port, ssl=tls, server_hostname=host if tls else None)
            connection = cls(*streams)
            try:
                await connection._bind(initiator, f"ldap/{host}")
            except BaseException:
                connection.close()
                raise
        return connection

    def close(self) -> None:
        """Let go of the socket, without a farewell that might wait."""
        self._writer.transport.abort()

    async def search(self, base: str, scope: int, criterion: bytes, attributes: Iterable[str]) -> list[Entry]:
        """The entries that match, referrals left aside.

        Args:
            base: A distinguished name.
            scope: ``BASE`` or ``SUBTREE``.
            criterion: A filter, made by ``equal`` and ``any_of``.
            attributes: What is wanted of them.

        Raises:
            DirectoryUnavailable: Any other answer than all of them.
        """
        request = _tlv(
            _SEARCH,
            _octets(base),
            _number(_ENUMERATED, scope),
            _number(_ENUMERATED, 0),  # aliases are not followed
            _number(_INTEGER, _ENTRIES_MAX),
            _number(_INTEGER, 0),  # the caller's deadline counts
            _tlv(_BOOLEAN, b"\x00"),
            criterion,
            _tlv(_SEQUENCE, *map(_octets, attributes)),
        )
        found = []
        with _explained():
            await self._send(request)
            while (answer := await self._receive())[0] != _DONE:
                tag, body = answer
                if tag == _ENTRY:
                    found.append(_entry(body))
                elif tag != _REFERENCE:
                    raise MalformedAnswer("no answer to a search")
            _check(answer[1], _SUCCESS)
        return found

    # ---- inside ----

    async def _bind(self, initiator: Initiator, service: str) -> None:
        tls: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls else None
        binding = end_point_binding(ssl.DER_cert_to_PEM_cert(certificate).encode()) if certificate else None
        handshake, token = await initiator.begin(service, is_private=tls is not None, binding=binding)
        while not handshake.is_complete:
            token = handshake.step(await self._sasl(token, _SASL_IN_PROGRESS))
        offer = await self._sasl(token, _SASL_IN_PROGRESS)
        await self._sasl(handshake.choose(offer), _SUCCESS)
        self._layer = handshake.layer

    async def _sasl(self, token: bytes, expected: int) -> bytes:
        credentials = _tlv(_SASL, _octets("GSSAPI"), _tlv(_OCTETS, token))
        await self._send(_tlv(_BIND, _number(_INTEGER, _VERSION), _octets(""), credentials))
        tag, body = await self._receive()
        if tag != _BIND_ANSWER:
            raise MalformedAnswer("no answer to a bind")
        _check(body, expected)
        return dict(_parts(body)).get(_SASL_ANSWER, b"")

    async def _send(self, operation: bytes) -> None:
        self._number += 1
        message = _tlv(_SEQUENCE, _number(_INTEGER, self._number), operation)
        self._writer.write(self._layer.wrapped(message) if self._layer else message)
        await self._writer.drain()

    async def _receive(self) -> tuple[int, bytes]:
        """The next answer to the question last sent: tag and contents."""
        tag, first = await self._read(2)
        size = first
        if first >= _LONG_LENGTH:
            count = first - _LONG_LENGTH
            if not 0 < count <= _LENGTH_OCTETS_MAX:
                raise MalformedAnswer("a length of no or too many octets")
            size = int.from_bytes(await self._read(count))
        if tag != _SEQUENCE or size > _MESSAGE_MAX:
            raise MalformedAnswer("no message, or too large a one")
        parts = _parts(await self._read(size))
        if len(parts) < 2:  # noqa: PLR2004  # number, operation; controls may follow
            raise MalformedAnswer("no operation")
        if int.from_bytes(parts[0][1]) != self._number:
            # Number 0 is the server's notice of disconnection (RFC 4511 section 4.4.1).
            raise ConnectionAbortedError("the server ends the connection")
        return parts[1]

    async def _read(self, count: int) -> bytes:
        if self._layer is None:
            return await self._reader.readexactly(count)
        while len(self._opened) < count:
            size = int.from_bytes(await self._reader.readexactly(4))
            if size > PIECE_MAX:
                raise MalformedAnswer("too large a piece")
            self._opened += self._layer.unwrapped(await self._reader.readexactly(size))
        taken = bytes(self._opened[:count])
        del self._opened[:count]
        return taken


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Whatever else goes wrong between two machines, as the one error that callers know."""
    try:
        yield
    except raw.GSSError as error:
        raise DirectoryUnavailable(str(error), reason="directory_kerberos") from error
    except MalformedAnswer as error:
        raise DirectoryUnavailable(str(error), reason="directory_malformed") from error
    except ssl.SSLError as error:
        raise DirectoryUnavailable(str(error), reason="directory_tls") from error
    except (OSError, asyncio.IncompleteReadError) as error:
        raise DirectoryUnavailable(str(error), reason="directory_unreachable") from error


# --- BER, as far as LDAP uses it (RFC 4511 section 5.1) --------------------------------------------------------------


def _tlv(tag: int, *contents: bytes) -> bytes:
    body = b"".join(contents)
    if len(body) < _LONG_LENGTH:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes(_LENGTH_OCTETS_MAX)
    return bytes([tag, _LONG_LENGTH | _LENGTH_OCTETS_MAX]) + length + body


def _octets(text: str) -> bytes:
    return _tlv(_OCTETS, text.encode())


def _number(tag: int, value: int) -> bytes:
    # One bit more than the value has: numbers are signed.
    return _tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """The elements of a constructed value, tag and contents each."""
    found, offset = [], 0
    while offset < len(data):
        head = data[offset : offset + 2]
        if len(head) < 2:  # noqa: PLR2004
            raise MalformedAnswer("cut short")
        tag, size = head
        offset += 2
        if size >= _LONG_LENGTH:
            count = size - _LONG_LENGTH
            if not 0 < count <= _LENGTH_OCTETS_MAX:
                raise MalformedAnswer("a length of no or too many octets")
            size = int.from_bytes(data[offset : offset + count])
            offset += count
        if offset + size > len(data):
            raise MalformedAnswer("cut short")
        found.append((tag, data[offset : offset + size]))
        offset += size
    return found


def _entry(body: bytes) -> Entry:
    try:
        (_, dn), (_, listed) = _parts(body)
        attributes = {}
        for _, attribute in _parts(listed):
            (_, name), (_, values) = _parts(attribute)
            attributes[name.decode().lower()] = tuple(value for _, value in _parts(values))
        return Entry(dn=dn.decode(), attributes=attributes)
    except ValueError as error:
        raise MalformedAnswer("not an entry") from error


def _check(body: bytes, expected: int) -> None:
    """Insist on a result code (RFC 4511 section 4.1.9)."""
    parts = _parts(body)
    if len(parts) < 3 or parts[0][0] != _ENUMERATED:  # noqa: PLR2004  # code, matched name, text
        raise MalformedAnswer("no result")
    code = int.from_bytes(parts[0][1])
    if code != expected:
        text = parts[2][1].decode(errors="replace")
        raise DirectoryUnavailable(f"result {code}: {text}", reason=_REASONS.get(code, f"directory_result_{code}"))
