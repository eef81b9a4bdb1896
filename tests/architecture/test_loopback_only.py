"""Nothing leaves loopback: the fence of tests/fakes/loopback.py and the wrapper `.ci/loopback-only`, tried from inside."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import loopback

# RFC 5737 and RFC 3849: addresses reserved for documentation, which belong to nobody.
ELSEWHERE = "192.0.2.1"
ELSEWHERE_6 = "2001:db8::1"

WRAPPER = Path(__file__).parents[2] / ".ci" / "loopback-only"
NO_NAMESPACE = 69  # EX_UNAVAILABLE (sysexits.h): the wrapper's word for "the kernel does not let me".


@pytest.fixture
def fence() -> list[str]:
    """The list of crossings, for tests that cross on purpose and take their own entry back."""
    return loopback.crossings


def test_connecting_to_another_machine_raises_before_any_packet(fence: list[str]) -> None:
    with socket.socket() as sock, pytest.raises(loopback.OutsideLoopbackError, match="leaves loopback"):
        sock.connect((ELSEWHERE, 80))
    assert fence.pop() == f"socket.connect ('{ELSEWHERE}', 80)"


def test_sending_a_datagram_to_another_machine_raises(fence: list[str]) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(loopback.OutsideLoopbackError):
        sock.sendto(b"x", (ELSEWHERE, 53))
    assert fence.pop() == f"socket.sendto ('{ELSEWHERE}', 53)"


def test_connecting_to_another_machine_by_ipv6_raises(fence: list[str]) -> None:
    with socket.socket(socket.AF_INET6) as sock, pytest.raises(loopback.OutsideLoopbackError):
        sock.connect((ELSEWHERE_6, 443))
    assert fence.pop().startswith("socket.connect")


def test_a_name_of_another_machine_is_not_even_looked_up(fence: list[str]) -> None:
    with pytest.raises(loopback.OutsideLoopbackError):
        socket.create_connection(("sts.amazonaws.com", 443), timeout=1)
    assert fence.pop() == "socket.getaddrinfo 'sts.amazonaws.com'"


def test_listening_on_all_addresses_raises(fence: list[str]) -> None:
    with socket.socket() as sock, pytest.raises(loopback.OutsideLoopbackError):
        sock.bind(("0.0.0.0", 0))  # noqa: S104 - the point of the test
    assert fence.pop() == "socket.bind ('0.0.0.0', 0)"


def test_a_crossing_that_was_swallowed_is_remembered(fence: list[str]) -> None:
    with socket.socket() as sock, contextlib.suppress(AssertionError):
        sock.connect((ELSEWHERE, 80))
    assert fence == [f"socket.connect ('{ELSEWHERE}', 80)"]
    fence.clear()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.0.3", "localhost"])
def test_loopback_stays_open(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        event = ("socket.connect", (socket.socket(), (address, port)))
        assert loopback.crossing(*event) is None
        event[1][0].close()
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            assert client.getpeername() == ("127.0.0.1", port)


def test_an_ipv4_address_inside_an_ipv6_one_is_judged_as_ipv4() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        assert loopback.crossing("socket.connect", (sock, ("::ffff:127.0.0.1", 80, 0, 0))) is None
        assert loopback.crossing("socket.connect", (sock, (f"::ffff:{ELSEWHERE}", 80, 0, 0))) is not None


def test_a_unix_socket_is_inside(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        assert client.getpeername() == path


def test_a_child_process_in_the_wrapper_finds_no_way_out_but_loopback() -> None:
    attempt = (
        "import socket, errno\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname(), timeout=1).close()\n"
        "try:\n"
        f"    socket.create_connection(('{ELSEWHERE}', 80), timeout=1)\n"
        "except OSError as error:\n"
        "    print(errno.errorcode.get(error.errno))\n"
    )
    done = subprocess.run(
        [WRAPPER, "--require", sys.executable, "-I", "-c", attempt], capture_output=True, text=True, check=False
    )
    outcome = (done.returncode, done.stdout.strip())
    # Where the kernel refuses namespaces (an unprivileged container), the wrapper must say so and run nothing.
    assert outcome in {(0, "ENETUNREACH"), (NO_NAMESPACE, "")}, done.stderr
