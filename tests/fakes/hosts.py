"""Several hosts on one machine: network namespaces on a switch of their own, with ways between them that can be cut.

Each host has an address of 10.77.0.0/24, a loopback, and a name of its own (network_namespaces(7), uts_namespaces(7)). The switch
is a bridge in a further namespace. Nothing joins any of them to the machine's network, nor to the namespace that the tests run
in: there is no way out, so the promise of `tests/fakes/loopback.py` holds although these packets travel by other addresses.

Whoever asks a host from outside (a test as a user, the strict STS as AWS) does so over the host's own loopback, by a socket that
was made inside: `dial` and `listen`. That is the network of users and of AWS, apart from the one between the hosts.

A namespace lives as long as the thread that made it and the processes in it. The kernel ends those with the thread that started
them (PR_SET_PDEATHSIG), so a test that is killed leaves nothing behind, not even a name: none is given in the file system.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

_CLONE_NEWUTS, _CLONE_NEWNET = 0x04000000, 0x40000000  # sched.h
_NETWORK = "10.77.0"
_COMMAND_SECONDS = 30.0  # `ip` and `nft` take some milliseconds; a loaded build machine more.

_Answer = TypeVar("_Answer")
_libc = ctypes.CDLL(None, use_errno=True)


class HostsError(Exception):
    """The kernel or a program refused; the message holds what it said."""


class _Namespace:
    """A namespace, and the thread that stays in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._inside = ThreadPoolExecutor(1, thread_name_prefix=name)
        self.thread = self.run(self._enter)
        self.program("ip", "link", "set", "lo", "up")

    def run(self, task: Callable[[], _Answer]) -> _Answer:
        """What a call gives inside."""
        return self._inside.submit(task).result(_COMMAND_SECONDS)

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a program in here; the process that it becomes ends with the thread that starts it."""
        place = f"/proc/{os.getpid()}/task/{self.thread}/ns"
        enter = ["nsenter", f"--net={place}/net", f"--uts={place}/uts", "--"]
        return [*enter, "setpriv", "--pdeathsig", "KILL", "--", *command]

    def program(self, *command: str, text: str = "") -> str:
        """Run a program of the administrator's to its end; what it printed.

        Raises:
            HostsError: It failed.
        """
        found = [_path_of(command[0]), *command[1:]]
        done = subprocess.run(
            self.inside(*found), input=text, capture_output=True, text=True, check=False, timeout=_COMMAND_SECONDS
        )
        if done.returncode != 0:
            raise HostsError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def close(self) -> None:
        """The thread leaves; the namespace goes with the last process in it."""
        self._inside.shutdown()

    def _enter(self) -> int:
        # Of this thread only (unshare(2)): the rest of the process stays where it is.
        name = self.name.encode()
        if _libc.unshare(_CLONE_NEWNET | _CLONE_NEWUTS) or _libc.sethostname(name, len(name)):
            why = os.strerror(ctypes.get_errno())
            raise HostsError(f"no namespace for {self.name}: {why}; it takes root, as in `make test` in a container")
        return threading.get_native_id()


class Host(_Namespace):
    """One machine on the network, with a name and an address."""

    def __init__(self, name: str, address: str) -> None:
        super().__init__(name)
        self.address = address

    def dial(self, port: int, *, patience: float) -> socket.socket:
        """A connection to a port of this host's loopback.

        Raises:
            OSError: Nobody listens there, or nobody answers in time.
        """
        made = self.run(socket.socket)
        try:
            made.settimeout(patience)
            made.connect(("127.0.0.1", port))
        except BaseException:
            made.close()
            raise
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def listen(self) -> socket.socket:
        """A listener on a free port of this host's loopback, for a server that is elsewhere."""
        return self.run(lambda: socket.create_server(("127.0.0.1", 0), backlog=1024))

    def hear_nothing_of(self, sources: Sequence[str]) -> None:
        """Drop what comes from these addresses, without a word to anybody.

        Connections that stand are not closed: who waits on one waits, as behind a switch that has lost its power.
        """
        chain = "".join(f"add rule inet cut coming ip saddr {address} drop\n" for address in sources)
        self.program(
            "nft",
            "-f",
            "-",
            text="add table inet cut\n"
            "add chain inet cut coming { type filter hook input priority 0; }\n"
            f"flush chain inet cut coming\n{chain}",
        )


class Network:
    """Hosts on a switch: ``with Network("one", "two") as network: network["one"]``."""

    def __init__(self, *names: str) -> None:
        """Raises: HostsError: It takes root."""
        self._switch = _Namespace("switch")
        self._switch.program("ip", "link", "add", "bridge", "type", "bridge")
        self._switch.program("ip", "link", "set", "bridge", "up")
        self.hosts: dict[str, Host] = {}
        # Who does not hear whom.
        self._cuts: set[tuple[str, str]] = set()
        for name in names:
            self._plug(name)

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for namespace in (*self.hosts.values(), self._switch):
            namespace.close()

    def deafen(self, hearer: str, speaker: str) -> None:
        """One way only: what the speaker sends never arrives at the hearer; the other direction stays."""
        self._cuts.add((hearer, speaker))
        self._write(hearer)

    def restore(self, hearer: str, speaker: str) -> None:
        """One way only: the hearer hears the speaker again."""
        self._cuts.discard((hearer, speaker))
        self._write(hearer)

    def part(self, one: str, other: str) -> None:
        """Both ways."""
        self.deafen(one, other)
        self.deafen(other, one)

    def isolate(self, name: str) -> None:
        """From every other host, both ways. Users and AWS still reach it: that is another network."""
        for other in self.hosts.keys() - {name}:
            self.part(name, other)

    def heal(self) -> None:
        """Everybody hears everybody."""
        touched = {hearer for hearer, _ in self._cuts}
        self._cuts.clear()
        for name in touched:
            self._write(name)

    def _write(self, hearer: str) -> None:
        deaf_to = [self.hosts[speaker].address for who, speaker in sorted(self._cuts) if who == hearer]
        self.hosts[hearer].hear_nothing_of(deaf_to)

    def _plug(self, name: str) -> None:
        number = len(self.hosts) + 1
        host = Host(name, f"{_NETWORK}.{number}")
        port = f"port{number}"
        # The far end is made in the host at once; `ip` takes a namespace by a process in it, and a thread's number will do.
        far = ["peer", "name", "eth0", "netns", str(host.thread)]
        self._switch.program("ip", "link", "add", port, "type", "veth", *far)
        self._switch.program("ip", "link", "set", port, "master", "bridge", "up")
        host.program("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        host.program("ip", "link", "set", "eth0", "up")
        self.hosts[name] = host


def _path_of(program: str) -> str:
    """Debian keeps `ip` and `nft` in /usr/sbin, which users do not have in PATH."""
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    if found is None:
        raise HostsError(f"{program} is not installed; run: make setup")
    return found
