"""Sockets that systemd passes (sd_listen_fds(3)), in a process of their own: its descriptors begin at 3."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Listens as systemd does, then is the broker's beginning: prints what it would listen on, or what is wrong.
_PROGRAM = """
import asyncio, os, socket, sys
from pathlib import Path
kind, made, asked, variables = sys.argv[1:5]
if kind == "unix":
    each = socket.socket(socket.AF_UNIX)
    each.bind(made)
    mode, uid, gid = variables.split()[0].split(":") if variables[:1] == "0" else ("0666", "0", "0")
    os.chmod(made, int(mode, 8))
    os.chown(made, int(uid), int(gid))
    variables = variables if variables[:1] != "0" else ""
else:
    each = socket.socket(type=socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
    each.bind((made, 0))
if kind != "datagram":
    each.listen()
each.setblocking(kind == "blocking")
port = each.getsockname()[1] if kind != "unix" else "no port"
os.dup2(each.fileno(), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="x")
os.environ.update(dict(pair.split("=") for pair in variables.split()))

from broker.config.values import TcpListener, UnixListener
from broker.core.errors import ConfigurationError
from broker.daemon.sockets import Sockets

async def main():
    listener = UnixListener(Path(asked), is_private=True) if kind == "unix" else TcpListener(True, asked, port)
    sockets = Sockets.passed_to_us(os.environ)
    print([name for name in os.environ if name.startswith("LISTEN_")], os.get_inheritable(3))
    address, found = await sockets.of(listener)
    sockets.require_none_left()
    print(address.replace(str(port), "PORT"), [each.fileno() for each in found])

try:
    asyncio.run(main())
except (ConfigurationError, OSError) as error:
    print(str(error).replace(str(port), "PORT"))
"""


def begin(*, kind: str = "tcp", made: str = "127.0.0.1", asked: str = "127.0.0.1", variables: str = "") -> list[str]:
    command = [sys.executable, "-c", _PROGRAM, kind, made, asked, variables]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return run.stdout.splitlines()


def test_the_socket_of_a_configured_address_is_used_and_no_child_inherits_it() -> None:
    assert begin() == ["[] False", "https://127.0.0.1:PORT [3]"]


def test_what_was_meant_for_another_process_is_left_alone() -> None:
    _, said = begin(variables="LISTEN_PID=1")
    # And whoever starts a second broker is told where, and how to see whose it is.
    assert said.startswith("https://127.0.0.1:PORT: Address already in use — fix: end whoever listens there")
    assert "ss -ltnp 'sport = :PORT'" in said


def test_an_address_that_is_not_this_hosts_is_named() -> None:
    *_, said = begin(asked="192.0.2.1")
    assert said.startswith(
        "https://192.0.2.1:PORT: Cannot assign requested address — fix: write an address of this host"
    )


def test_a_socket_that_nobody_would_serve_is_refused() -> None:
    """Its clients would wait for ever."""
    *_, said = begin(made="127.0.0.1", asked="127.0.0.2")
    assert said.startswith("socket 127.0.0.1:PORT: is passed by systemd, and the configuration does not listen there")
    assert "add https://127.0.0.1:PORT to server.listen" in said


def test_a_socket_that_an_instance_would_hang_on_is_refused() -> None:
    assert "NonBlocking=yes" in begin(kind="blocking")[0]


def test_a_socket_without_connections_is_refused() -> None:
    assert "does not take connections" in begin(kind="datagram")[0]


def test_the_operators_socket_is_refused_where_others_may_connect(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    *_, said = begin(kind="unix", made=path, asked=path)
    assert said.startswith(f"socket {path}: has mode 0666")
    assert "write SocketMode=0660 in" in said


@pytest.mark.parametrize(
    ("owned", "fault", "fix"),
    [
        ("0660:0:12345", "is another group's, and only root", "write SocketGroup=root in"),
        ("0660:12345:0", "is another account's, and only root", "remove SocketUser= from"),
    ],
)
def test_the_operators_socket_of_somebody_else_is_refused(tmp_path: Path, owned: str, fault: str, fix: str) -> None:
    path = str(tmp_path / "admin.sock")
    *_, said = begin(kind="unix", made=path, asked=path, variables=owned)
    assert said.startswith(f"socket {path}: {fault}")
    assert fix in said


def test_the_operators_socket_of_root_and_our_group_is_used(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    for owned in ("0660:0:0", "0600:0:0"):
        *_, said = begin(kind="unix", made=path, asked=path, variables=owned)
        assert said == f"unix:{path} [3]"
        Path(path).unlink()


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        ("2", "socket descriptor 4: is not a socket"),
        ("99999999999", "socket descriptor 4: is not a socket"),
        ("-1", "socket LISTEN_FDS: is not a number of descriptors"),
        ("canary", "socket LISTEN_FDS: is not a number of descriptors"),
    ],
)
def test_a_number_of_sockets_that_cannot_be_is_an_error_that_names_it(number: str, fault: str) -> None:
    *_, said = begin(variables=f"LISTEN_FDS={number}")
    assert said.startswith(fault)


@pytest.mark.parametrize("variables", ["LISTEN_FDS=", "LISTEN_FDS=0"])
def test_without_passed_sockets_the_broker_listens_by_itself(variables: str) -> None:
    _, said = begin(variables=variables, asked="127.0.0.3")
    assert said.startswith("https://127.0.0.3:PORT [")
