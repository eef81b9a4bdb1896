"""The real redis-server in a folder of its own: on a Unix socket and on a free port of 127.0.0.1, with a password, without disk.

The product speaks to it as `broker`, an account with the rights that docs/redis.md gives it and no more; whatever was refused to
that account in a test fails the test that asked for it (`renew`, `close`). Tests themselves use `cli`, which may do everything.

It can be frozen (SIGSTOP), thawed, stopped and started again on the same addresses, which is how the tests see a Redis that is
slow, dead, or back with an empty memory. `cli` runs the real redis-cli, so a test looks at the server from outside the product.
The demo uses it too, so nothing here knows about pytest.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from broker.assembly.redis_user import rules
from tests.fakes.server_process import ServerProcess

# Who the product is there.
ACCOUNT = "broker"
_RIGHTS_AT_SENTINELS = ("-@all", "+sentinel|master")

START_SECONDS = 10.0  # It is up in 10 ms; a loaded build machine may need a hundred times that.
COMMAND_SECONDS = 10.0
POLL_SECONDS = 0.005
PORT_ATTEMPTS = 20  # Another process may take the port between our choice and the server's bind.
SOCKET_PATH_BYTES = 107  # sockaddr_un holds 108 bytes with the final zero (unix(7)).


class RedisError(Exception):
    """A Redis program is missing, failed, or did not come up; the message holds what it said."""


class RedisServer(ServerProcess):
    """One running redis-server.

    Attributes:
        folder: Its configuration and log.
        password: What clients must present.
        port: Its port on 127.0.0.1.
        socket: Its Unix socket.
    """

    def __init__(self, folder: Path, *, password: str | None = None, mode: tuple[str, ...] = ()) -> None:
        self.folder = folder.resolve()
        self.password = password or secrets.token_urlsafe(24)
        self.port = 0
        self._mode = mode
        self._socket_folder: str | None = None
        self._settings: dict[str, str] = {}

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        settings: dict[str, str] | None = None,
        password: str | None = None,
        mode: tuple[str, ...] = (),
    ) -> RedisServer:
        """Starts a server and returns when it answers.

        Args:
            folder: An empty or missing folder; made with mode 0700.
            settings: Further lines of redis.conf, such as `{"maxmemory": "1mb"}`; with `port` 0 and `tls-port`, `PORT`
                stands for the port that was found.
            password: Of all servers of a set; a fresh one by default.
            mode: Further arguments, such as `--sentinel`.

        Raises:
            RedisError: It did not come up.
        """
        server = cls(folder, password=password, mode=mode)
        server.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        server._settings = dict(settings or {})
        server._start()
        return server

    @property
    def url(self) -> str:
        """`redis://broker@127.0.0.1:PORT/0`, without the password: the product takes that from a file."""
        return f"{self.scheme}://{ACCOUNT}@127.0.0.1:{self.port}/0"

    @property
    def scheme(self) -> str:
        """`rediss` where it speaks TLS."""
        return "rediss" if "tls-port" in self._settings else "redis"

    @property
    def url_with_password(self) -> str:
        """For clients of a test's own, which may do everything: attackers, and rooms of the product by themselves."""
        return f"{self.scheme}://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> Path:
        """The Unix socket; in a short temporary folder where the path would not fit into a socket address."""
        direct = self.folder / "redis.sock"
        if len(os.fsencode(direct)) <= SOCKET_PATH_BYTES:
            return direct
        self._socket_folder = self._socket_folder or tempfile.mkdtemp(prefix="redis-")
        return Path(self._socket_folder) / "redis.sock"

    def restart(self, *, emptied: bool = True, patiently: bool = True) -> None:
        """Ends the server and starts one with the same addresses and password; ``emptied``: without what it had saved.

        Raises:
            RedisError: It did not come up, for instance because the port was taken meanwhile; not where nobody waits for it.
        """
        self.stop()
        if emptied:
            (self.folder / "dump.rdb").unlink(missing_ok=True)
        self._launch()
        if patiently:
            self._wait_until_it_answers()

    def renew(self) -> None:
        """Brings the server back to running and empty, whatever was done to it; 3 ms when it runs."""
        if not self.is_running:
            self.restart()
            return
        self.thaw()
        self.cli("FLUSHALL")
        self.require_nothing_refused()

    def require_nothing_refused(self) -> None:
        """What the broker's account was refused is asked for by nobody, or missing in ``broker.assembly.redis_user``.

        Raises:
            RedisError: Something was.
        """
        refused = self.cli("ACL", "LOG").split("\n")
        self.cli("ACL", "LOG", "RESET")
        said = [refused[at + 5] for at, line in enumerate(refused) if line == "reason" and refused[at + 1] != "auth"]
        if said:
            raise RedisError(f"the broker's account was refused {sorted(set(said))!a}")

    def close(self) -> None:
        """Ends the server for good and removes what it left outside its folder."""
        self.stop()
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    def cli(self, *args: str) -> str:
        """Runs redis-cli against the server and returns what it printed, `--raw` where it is no terminal.

        Raises:
            RedisError: redis-cli failed, or the server answered with an error.
        """
        done = subprocess.run(
            [_program("redis-cli"), "-e", "-s", str(self.socket), *args],
            # REDISCLI_AUTH keeps the password off the command line.
            env={**os.environ, "REDISCLI_AUTH": self.password},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        # Sealed entries are bytes: surrogateescape keeps them searchable.
        answer = done.stdout.decode(errors="surrogateescape")
        if done.returncode != 0:
            raise RedisError(f"redis-cli {args}: {answer}{done.stderr.decode(errors='replace')}")
        return answer

    # ---- inside ----

    def _start(self) -> None:
        for _ in range(PORT_ATTEMPTS):
            self.port = _free_port()
            self._launch()
            with contextlib.suppress(_PortTakenError):
                self._wait_until_it_answers()
                return
        raise RedisError(f"redis-server found no free port on 127.0.0.1 in {PORT_ATTEMPTS} tries: {self._log()}")

    def _launch(self) -> None:
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "unixsocketperm": "600",
            "requirepass": self.password,
            f"user {ACCOUNT}": f"on >{self.password} {' '.join(_RIGHTS_AT_SENTINELS if self._mode else rules())}",
            "dir": str(self.folder),
            "logfile": str(self.folder / "redis.log"),
            "save": '""',  # No snapshots and no log of writes: what is cached here must not reach a disk.
            "appendonly": "no",
            "daemonize": "no",
            **{key: value.replace("PORT", str(self.port)) for key, value in self._settings.items()},
        }
        conf = self.folder / "redis.conf"
        conf.touch(mode=0o600)
        conf.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        (self.folder / "redis.log").unlink(missing_ok=True)
        # A session of its own: Ctrl-C in a terminal reaches our owner, who ends the server in order.
        self._server = subprocess.Popen(
            [_program("redis-server"), str(conf), *self._mode],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            # The socket lies in our own folder, so whoever answers there is this server.
            if self._answers():
                return
            if self._server is None or self._server.poll() is not None:
                self._server = None
                if "Address already in use" in self._log():
                    raise _PortTakenError(self._log())
                raise RedisError(f"redis-server ended at its start: {self._log()}")
            time.sleep(POLL_SECONDS)
        self.stop()
        raise RedisError(f"redis-server was not ready within {START_SECONDS} s: {self._log()}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(START_SECONDS)
            probe.connect(str(self.socket))
            probe.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
            with probe.makefile("rb") as answers:
                return answers.readline() == b"+OK\r\n" and answers.readline() == b"+PONG\r\n"
        return False

    def _log(self) -> str:
        try:
            return (self.folder / "redis.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""


class _PortTakenError(RedisError):
    """Somebody bound the port between our choice and the server's bind."""


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/bin", "/usr/sbin"]))
    if found is None:
        raise RedisError(f"{name} is not installed; run: make setup")
    return found
