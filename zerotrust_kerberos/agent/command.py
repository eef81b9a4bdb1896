"""``zerotrust agent``: credentials kept ready for all users of a host (as root), or for one's own programs (as anybody else)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import stat
import time
from collections.abc import Iterator

from zerotrust_kerberos import output
from zerotrust_kerberos.agent import callers, hardened, worker
from zerotrust_kerberos.agent.http import HEAD_MAX, Door
from zerotrust_kerberos.agent.many import Parent
from zerotrust_kerberos.agent.source import Source
from zerotrust_kerberos.agent.surface import Surface
from zerotrust_kerberos.by_agent import SYSTEM_SOCKET, users_socket
from zerotrust_kerberos.credential_process import asked
from zerotrust_kerberos.failures import Failure
from zerotrust_kerberos.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.commands import Call

_BACKLOG = 512
# Seconds. Whoever asks us waits ten, and shall hear why there is nothing.
_TIMEOUT_MAX = 8.0
_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)


def command(call: Call) -> str:
    """Listen and stay.

    Raises:
        Failure: There is no socket to be had.
    """
    settings, is_root = call.settings(), os.geteuid() == 0
    settings.timeout = min(settings.timeout, _TIMEOUT_MAX)
    with _listener(call.options.get("socket"), is_root=is_root) as listener:
        output.say("zerotrust agent: ready\n")
        signal.signal(signal.SIGTERM, _end)
        with contextlib.suppress(KeyboardInterrupt):
            if is_root:
                _load()
                Parent(listener, work=lambda channel, uid: worker.work(channel, uid, settings)).run()
            hardened.hide()
            asyncio.run(_serve(listener, settings))
    return ""


async def _serve(listener: socket.socket, settings: Settings) -> None:
    """For the one user that we are."""
    source = Source(settings, ask=asked, takes_any_file=False, now=time.time, chance=random.random)
    door = Door(Surface(source, settings).answer, of=callers.of_unix)
    server = await asyncio.start_unix_server(door.connected, sock=listener, limit=HEAD_MAX)
    await server.serve_forever()


def _end(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _load() -> None:
    """What workers import when they need it: a user's process may not be able to read where we are installed."""
    import calendar  # noqa: F401, PLC0415
    import json  # noqa: F401, PLC0415

    import zerotrust_kerberos.negotiate  # noqa: PLC0415
    import zerotrust_kerberos.tls  # noqa: F401, PLC0415


@contextlib.contextmanager
def _listener(path: str | None, *, is_root: bool) -> Iterator[socket.socket]:
    """The socket that systemd gives us, or one of our own that is gone with us."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        with socket.socket(fileno=_FIRST_DESCRIPTOR) as given:
            os.set_inheritable(_FIRST_DESCRIPTOR, False)
            yield given
        return
    where = path or (SYSTEM_SOCKET if is_root else users_socket(os.environ))
    if not where.startswith("/"):
        raise Failure("configuration", "there is no runtime folder", fix="zerotrust agent --socket /path/agent.sock")
    with socket.socket(socket.AF_UNIX) as made:
        try:
            _bind(made, where, mode=0o666 if is_root else 0o600)
        except OSError as error:
            raise Failure("configuration", f"{where}: {error.strerror}", fix=f"ls -ld {where}") from error
        try:
            yield made
        finally:
            with contextlib.suppress(OSError):
                os.unlink(where)  # noqa: PTH108


def _bind(made: socket.socket, where: str, *, mode: int) -> None:
    folder = os.path.dirname(where)  # noqa: PTH120
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o755 if mode & 0o004 else 0o700)  # noqa: PTH102
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(1, "its folder is a link, or others may write to it")
    _remove_stale(where)
    before = os.umask(0o177)
    try:
        made.bind(where)
    finally:
        os.umask(before)
    os.chmod(where, mode)  # noqa: PTH101
    made.listen(_BACKLOG)


def _remove_stale(where: str) -> None:
    """The socket that a killed agent left. Raises OSError where one listens, or where it is something else."""
    try:
        if not stat.S_ISSOCK(os.lstat(where).st_mode):
            raise FileExistsError(17, "it is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(where)
        except ConnectionRefusedError:
            os.unlink(where)  # noqa: PTH108
        else:
            raise FileExistsError(17, "an agent listens there already")
