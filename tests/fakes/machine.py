"""A small Debian that systemd boots, in a container: units, packages and sandboxes as they are on a real host.

Each machine is a fresh overlay over one unpacked copy of ``.venv/debian.tar`` (requirements/debian.sh; debian.txt there says
what is installed). It starts in under a second, has a network of its own that holds nothing but ``lo``, and leaves nothing
behind: its mounts are in a namespace that ends with it, and what it writes is in memory. Only root can boot one.

    @pytest.fixture(scope="module")
    def machine(debian: Path) -> Iterator[Machine]:     # `debian`: the unpacked tree, tests/conftest.py
        with Machine.start(debian, shown={"/dist": Path("dist")}) as machine:     # read-only folders of this host
            yield machine

    machine.write("/etc/zerotrust/config.yaml", text, mode=0o640, owner="root:zerotrust")
    machine.copy(Path("dist/x.deb"), "/root/x.deb")          # a file or a folder
    machine.run("dpkg", "-i", "/root/x.deb")                 # MachineError with the output, unless check=False
    machine.journal("-u", "zerotrust-broker")                # a dict an entry, all fields
    with machine.network():                                  # this thread, and the processes it starts, are on the machine's lo:
        Realm.start(...), StrictSts(...), RedisServer.start(...)     # this host's programs, reached from inside as 127.0.0.1
        requests.get("http://127.0.0.1:8080/healthz")        # and the machine's services, reached from the test

``install_programs()`` puts the programs of this working copy into /opt/zerotrust, as the package does.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
# Boots in half a second; a loaded build machine may take many times that.
START_SECONDS = 60.0
STOP_SECONDS = 60.0
COMMAND_SECONDS = 300.0

# setns(2); os.setns comes with Python 3.12.
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

# Where systemd keeps its control groups: beside version 1, or of version 2 alone. Two machines in one group would kill each
# other's services.
_HIERARCHIES = [Path("/sys/fs/cgroup") / name for name in ("systemd", "unified", "")]
# In a mount namespace and control groups of its own: the upper layer in memory, the overlay, and then systemd-nspawn in this
# shell's place.
_BOOT = """
set -e
for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    if [ -e "$hierarchy/cgroup.procs" ]; then
        mkdir "$hierarchy/$3"
        echo $$ > "$hierarchy/$3/cgroup.procs"
    fi
done
mount -t tmpfs -o mode=0755 machine "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
machine=$1 name=$3
shift 3
exec systemd-nspawn --directory="$machine/root" --machine="$name" "$@"
"""

# The broker's locked pages are of a system call that systemd-nspawn does not know yet.
_CALLS = "memfd_secret @keyring"
_INSIDE = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SYSTEMD_PAGER": "",
}

_PROGRAM = """#!/opt/zerotrust/bin/python3
import sys
from broker.cli import {function}
sys.argv[0] = "{name}"
{function}()
"""


class MachineError(RuntimeError):
    """The machine did not boot, or a command in it failed; the message holds what was said."""


def unpacked() -> Path:
    """The tree that machines are laid over, and that nobody writes to. Half a second and 250 MB, once for each ``debian.tar``.

    Raises:
        MachineError: Nobody has made it.
    """
    packed, tree, stamp = (ROOT / ".venv" / name for name in ("debian.tar", "debian", "debian.unpacked"))
    if not packed.exists():
        raise MachineError(f"{packed} is not there; run, as root: requirements/debian.sh")
    of = str(packed.stat().st_mtime_ns)
    # Several workers want it at the same moment.
    with stamp.open("a+") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        made.seek(0)
        if made.read() != of:
            shutil.rmtree(tree, ignore_errors=True)
            tree.mkdir()
            subprocess.run(["tar", "--extract", "--numeric-owner", "--file", packed, "--directory", tree], check=True)
            made.truncate(0)
            made.write(of)
    return tree


class Machine:
    """A booted machine. Made by ``start``; a context manager that ends it at once, as pulling the plug does."""

    def __init__(self, nspawn: subprocess.Popen[bytes], *, leader: int) -> None:
        self._nspawn = nspawn
        # Its PID 1, as this host counts.
        self.leader = leader

    @classmethod
    @contextlib.contextmanager
    def start(cls, tree: Path, *, shown: Mapping[str, Path] | None = None) -> Iterator[Machine]:
        """Boot.

        Args:
            tree: What ``unpacked`` returned; it is not written to.
            shown: Where in the machine to show, read-only, which file or folder of this host.

        Raises:
            MachineError: It did not come up; with what it said.
        """
        with tempfile.TemporaryDirectory(prefix="machine-") as name:
            folder = Path(name)
            (folder / "mount").mkdir()
            try:
                with cls._boot(folder, tree, shown or {}) as machine:
                    yield machine
            finally:
                _remove_groups(_name_of(folder))

    @classmethod
    def _boot(cls, folder: Path, tree: Path, shown: Mapping[str, Path]) -> Machine:
        command = ["unshare", "--mount", "--propagation=private", "bash", "-c", _BOOT, "boot", folder / "mount", tree]
        command += [_name_of(folder)]
        command += ["--quiet", "--boot", "--private-network", "--register=no", "--keep-unit", "--console=pipe"]
        command += ["--notify-ready=yes", f"--system-call-filter={_CALLS}"]
        command += [f"--bind-ro={source.resolve()}:{target}" for target, source in shown.items()]
        said = folder / "console"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear, said.open("wb") as console:
            ear.bind(str(folder / "notify"))
            ear.settimeout(START_SECONDS)
            env = {"PATH": _INSIDE["PATH"], "NOTIFY_SOCKET": str(folder / "notify")}
            nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=env)
            try:
                return cls(nspawn, leader=_leader_when_ready(ear))
            except (TimeoutError, MachineError) as error:
                nspawn.kill()
                nspawn.wait()
                raise MachineError(f"the machine did not boot: {said.read_text(errors='replace')}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._nspawn.poll() is None:
            # PID 1 of a PID namespace takes everybody with it; systemd-nspawn then ends by itself.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, 9)
            self._nspawn.wait(STOP_SECONDS)

    # ---- inside ----

    def command(self, *argv: str | Path, env: Mapping[str, str] | None = None) -> list[str]:
        """The command line, on this host, of a command inside, as root: for a process of one's own."""
        variables = [f"{key}={value}" for key, value in {**_INSIDE, **(env or {})}.items()]
        return ["nsenter", "--target", str(self.leader), "--all", "env", "-i", *variables, *map(str, argv)]

    def run(
        self,
        *argv: str | Path,
        check: bool = True,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root, and return what it wrote.

        Args:
            argv: The command.
            check: Whether anything but exit code 0 is an error.
            text: What it reads from its standard input.
            env: Variables beside PATH, HOME and LANG.

        Raises:
            MachineError: It failed, and that was to be checked; with what it wrote.
        """
        done = subprocess.run(
            self.command(*argv, env=env),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        if check and done.returncode != 0:
            raise MachineError(f"{shlex.join(map(str, argv))} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def write(self, path: str, content: str | bytes, *, mode: int = 0o644, owner: str = "root:root") -> None:
        """Make a file inside, with the folders on the way to it."""
        user, group = owner.split(":")
        self.run("install", "-D", f"--mode={mode:o}", f"--owner={user}", f"--group={group}", "/dev/null", path)
        data = content.encode() if isinstance(content, str) else content
        subprocess.run(self.command("tee", path), input=data, stdout=subprocess.DEVNULL, check=True)

    def read(self, path: str) -> str:
        """What is in a file inside."""
        return self.run("cat", path).stdout

    def copy(self, source: Path, path: str) -> None:
        """Copy a file, or what is in a folder, of this host to a path inside; owned by root there."""
        self.run("mkdir", "--parents", path if source.is_dir() else str(Path(path).parent))
        if source.is_dir():
            pack, target = ["tar", "--create", "--directory", str(source), "."], path
        else:
            rename = f"--transform=s|.*|{Path(path).name}|"
            pack, target = (
                ["tar", "--create", "--directory", str(source.parent), rename, source.name],
                str(Path(path).parent),
            )
        packed = subprocess.run(pack, check=True, capture_output=True).stdout
        unpack_there = self.command("tar", "--extract", "--no-same-owner", "--same-permissions", "--directory", target)
        subprocess.run(unpack_there, input=packed, check=True)

    def journal(self, *arguments: str) -> list[dict[str, Any]]:
        """Entries of the journal, oldest first, with all their fields; arguments as journalctl takes them."""
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "--output=json", "--all", "--no-pager", "--quiet", *arguments).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit, as systemctl show names them."""
        wanted = [f"--property={','.join(properties)}"] if properties else []
        lines = self.run("systemctl", "show", *wanted, unit).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """This thread, and the processes and threads that it starts meanwhile, are in the machine's network."""
        with open("/proc/thread-self/ns/net") as ours, open(f"/proc/{self.leader}/ns/net") as theirs:  # noqa: PTH123
            _enter(theirs.fileno())
            try:
                yield
            finally:
                _enter(ours.fileno())

    def install_programs(self) -> None:
        """Put the programs of this working copy into /opt/zerotrust; the machine was started with ``programs_shown()``."""
        self.write("/opt/zerotrust/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n")
        self.run("mkdir", "--parents", "/opt/zerotrust/bin")
        self.run("ln", "--symbolic", "/usr/bin/python3", "/opt/zerotrust/bin/python3")
        self.write(f"{SITE_PACKAGES}/shown.pth", f"{_SHOWN}/packages\n{_SHOWN}/source\n")
        for name, function in (("zerotrust-broker", "main"), ("zerotrust-admin", "admin")):
            text = _PROGRAM.format(name=name, function=function)
            self.write(f"/opt/zerotrust/bin/{name}", text, mode=0o755)
        # As installers do with this script: with the interpreter's path in the first line.
        _, client = (ROOT / "zerotrust_kerberos/__main__.py").read_text().split("\n", 1)
        self.write("/opt/zerotrust/bin/zerotrust", f"#!/opt/zerotrust/bin/python3\n{client}", mode=0o755)


_SHOWN = "/opt/shown"
SITE_PACKAGES = f"/opt/zerotrust/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def programs_shown() -> dict[str, Path]:
    """What a machine with ``install_programs()`` must be shown."""
    return {
        f"{_SHOWN}/packages": Path(sysconfig.get_path("purelib")),
        f"{_SHOWN}/source/broker": ROOT / "broker",
        f"{_SHOWN}/source/zerotrust_kerberos": ROOT / "zerotrust_kerberos",
    }


def _name_of(folder: Path) -> str:
    """A host name that no other machine has."""
    return f"m{hashlib.sha256(folder.name.encode()).hexdigest()[:12]}"


def _remove_groups(name: str) -> None:
    for hierarchy in _HIERARCHIES:
        for group, _, _ in os.walk(hierarchy / name, topdown=False):
            Path(group).rmdir()


def _leader_when_ready(ear: socket.socket) -> int:
    """What systemd-nspawn says by sd_notify(3): first who the machine's PID 1 is, then that it has booted."""
    leader = 0
    while True:
        for line in ear.recv(4096).decode().splitlines():
            name, _, value = line.partition("=")
            if name == "X_NSPAWN_LEADER_PID":
                leader = int(value)
            elif line == "READY=1":
                return leader
            elif line == "STOPPING=1":
                raise MachineError("it stopped")


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
