"""Syslog over TLS: messages of RFC 5424, octet counting of RFC 5425.

RFC 5425 knows no acknowledgement. A record counts as taken when the receiving host's TCP has acknowledged all its bytes: it has
then left this machine, though no program may have read it yet. What was acknowledged within the last seconds before a
connection broke is therefore sent again; a connection that ends with both sides' close_notify has been read to its end.
"""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import struct
import time
from collections.abc import Sequence

from broker.audit.sinks.parcel import Parcel, SinkDown
from broker.core.workers import Workers

# RFC 5425, section 4.1.
PORT = 6514
APP_NAME = "zerotrust-broker"
# RFC 5424, section 6.2.1: 13 is "log audit".
_FACILITY = 13
# RFC 5424, section 7.3.1: sequenceId is 1 to 2147483647, and begins again behind that.
_SEQUENCE_MAX = 2147483647
# To connect, to send a batch, and until the other side's TCP has it.
_SECONDS = 5.0
# A receiver that dies had read what it got so long before.
_SETTLES_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 0.002
# Bytes in the send queue that the other side has not acknowledged (tcp(7)).
_SIOCOUTQ = 0x5411


class SyslogTls:
    """One connection, made when first needed and again after it broke."""

    settles_after = _SETTLES_SECONDS

    def __init__(self, *, host: str, port: int, context: ssl.SSLContext) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._connection: ssl.SSLSocket | None = None
        self._worker = Workers(name="syslog", number=1)

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """See ``Sink``."""
        await self._worker.do(lambda: self._send(parcels))

    async def close(self) -> None:
        """See ``Sink``."""
        try:
            await self._worker.do(self._say_goodbye)
        finally:
            self._worker.stop()

    def _send(self, parcels: Sequence[Parcel]) -> None:
        try:
            if self._connection is None:
                self._connection = self._connected()
            # It never has anything to say: what can be read is the end of the connection, or its loss.
            if _is_closed(self._connection):
                raise ConnectionResetError("closed by the receiver")
            self._connection.sendall(b"".join(framed(message(parcel)) for parcel in parcels))
            _wait_for_acknowledgement(self._connection)
        except OSError as error:
            self._let_go()
            raise SinkDown(f"syslog server {self._host}: {_words(error)}") from error

    def _connected(self) -> ssl.SSLSocket:
        plain = socket.create_connection((self._host, self._port), timeout=_SECONDS)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._context.wrap_socket(plain, server_hostname=self._host)
        except OSError:
            plain.close()
            raise

    def _say_goodbye(self) -> None:
        if self._connection is None:
            return
        try:
            # Sends close_notify and waits for the other side's, which comes when it has read everything (RFC 5425, section 4.4).
            self._connection.unwrap()
        except OSError as error:
            raise SinkDown(f"syslog server {self._host}: {_words(error)}") from error
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def message(parcel: Parcel) -> bytes:
    """The record as a SYSLOG-MSG. MSG is the JSON, without a byte order mark (MSG-ANY), which JSON readers do not expect."""
    host = _name(parcel.instance.rpartition("-")[0], longest=255)
    sequence = (parcel.seq - 1) % _SEQUENCE_MAX + 1
    header = (
        f"<{_FACILITY * 8 + parcel.severity}>1 {parcel.members.get('timestamp') or '-'} {host} {APP_NAME} - "
        f'{_name(parcel.kind, longest=32)} [meta sequenceId="{sequence}"][origin software="{APP_NAME}"] '
    )
    return header.encode("ascii", "replace") + parcel.payload


def framed(text: bytes) -> bytes:
    """RFC 5425, section 4.3: the length in front, so that nothing inside can end a message."""
    return b"%d %s" % (len(text), text)


def _name(text: str, *, longest: int) -> str:
    """PRINTUSASCII, or the NILVALUE."""
    return "".join(char for char in text if "!" <= char <= "~")[:longest] or "-"


def _is_closed(connection: ssl.SSLSocket) -> bool:
    connection.settimeout(0)
    try:
        return connection.recv(1) == b""
    except (ssl.SSLWantReadError, BlockingIOError):
        return False
    finally:
        connection.settimeout(_SECONDS)


def _wait_for_acknowledgement(connection: ssl.SSLSocket) -> None:
    until = time.monotonic() + _SECONDS
    while struct.unpack("i", fcntl.ioctl(connection.fileno(), _SIOCOUTQ, b"\0\0\0\0"))[0]:
        if time.monotonic() > until:
            raise TimeoutError
        if _is_closed(connection):
            raise ConnectionResetError("closed by the receiver")
        time.sleep(_LOOK_EVERY_SECONDS)


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'closed'}"
    if isinstance(error, TimeoutError):
        return f"no answer in {_SECONDS:.0f} seconds"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
