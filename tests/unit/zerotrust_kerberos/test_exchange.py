"""What a server can send that is no answer."""

from __future__ import annotations

import _socket
import contextlib
import socket
import threading

import pytest

from zerotrust_kerberos.exchange import BODY_MAX, Answer, connect, exchange
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.settings import load


def answered(said: bytes) -> Answer:
    """What the helper makes of a server that says this and hangs up."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        return exchange(ours, b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    "number", ["0200", "20099", "0200" + "9" * 5000, "99", "600", "-20", "2e2", "\u0662\u0660\u0660", ""]
)
def test_a_status_is_three_digits_and_nothing_else_is_read_as_one(number: str) -> None:
    with pytest.raises(Failure, match="unexpected_answer") as failure:
        answered(f"HTTP/1.1 {number} OK\r\n\r\n".encode())
    assert failure.value.detail == "it does not speak HTTP/1.1"


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"", "an empty answer"),
        (b"HTTP/1.1 200 OK\r\n", "the connection ended in the middle of the answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "the connection ended in the middle of the answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", "the connection ended in the middle of the answer"),
    ],
)
def test_an_answer_that_ends_early_is_none(said: bytes, fault: str) -> None:
    with pytest.raises(Failure, match="unexpected_answer") as failure:
        answered(said)
    assert failure.value.detail == fault


def test_a_body_is_whole_whether_its_length_is_told_or_not() -> None:
    for header in (b"Content-Length: 4", b"Connection: close"):
        assert answered(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n\r\nbody").body == b"body"


@pytest.mark.parametrize(
    "announced",
    [
        f"Content-Length: {BODY_MAX + 1}\r\n\r\n",
        f"Content-Length: {'9' * 5000}\r\n\r\n",
        f"Transfer-Encoding: chunked\r\n\r\n{BODY_MAX + 1:x}\r\n",
        f"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n{BODY_MAX:x}\r\n",
    ],
)
def test_a_body_that_is_announced_longer_than_the_limit_is_not_waited_for(announced: str) -> None:
    with pytest.raises(Failure, match="unexpected_answer") as failure:
        answered(f"HTTP/1.1 200 OK\r\n{announced}".encode())
    assert failure.value.detail == f"longer than {BODY_MAX} bytes"


def test_a_body_without_an_announced_end_is_cut_off_at_the_limit() -> None:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                theirs.sendall(b"a" * 65_536)

    server = threading.Thread(target=serve)
    server.start()
    with pytest.raises(Failure, match="unexpected_answer") as failure:
        exchange(ours, b"GET / HTTP/1.1\r\n\r\n")
    server.join()
    assert failure.value.detail == f"longer than {BODY_MAX} bytes"


def test_nothing_that_is_sent_waits_for_an_acknowledgement() -> None:
    """Over TLS the request follows the handshake's last word, and Nagle's rule would hold it back for 40 ms."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection, _ = connect(load({"broker_url": f"http://127.0.0.1:{server.getsockname()[1]}"}, {}))
        assert isinstance(connection, _socket.socket)
        assert connection.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY) == 1
        connection.close()
