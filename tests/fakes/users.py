"""Other users of this machine. The tests run as root, who can become anybody: uids that no machine has, and a copy of the user's
side where they can read it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.until import eventually

ROOT = Path(__file__).parents[2]
# The system's: whatever the tests run in may lie in root's home.
PYTHON = "/usr/bin/python3"
PATIENCE = 60.0
# No two test processes have the same: the caches of a user lie where all of the machine can see them.
ALICE = 1_000_000 + 2 * os.getpid()
MALLORY = ALICE + 1


@contextmanager
def installed() -> Iterator[Path]:
    """The user's side, where everybody can read it: for ``PYTHONPATH``."""
    with tempfile.TemporaryDirectory(prefix="zerotrust-users-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "zerotrust_kerberos", folder / "zerotrust_kerberos")
        (folder / "broker").mkdir()
        for module in ("__init__", "wire", "wire_secrets", "locked", "quoting"):
            shutil.copy(ROOT / "broker" / f"{module}.py", folder / "broker")
        subprocess.run(["chmod", "-R", "a+rX", name], check=True)
        yield folder


def started(uid: int, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """A program of this user, with this environment and nothing else."""
    return subprocess.Popen(
        command,
        env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        user=uid,
        group=uid,
        extra_groups=[],
    )


def run(uid: int, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The same, to its end."""
    with started(uid, command, environment) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextmanager
def agent(
    environment: Mapping[str, str],
    *,
    path: Path,
    uid: int | None = None,
    program: Sequence[str] = ("-m", "zerotrust_kerberos"),
    within: Sequence[str] = (),
) -> Iterator[subprocess.Popen[str]]:
    """``zerotrust agent``: root's for all, or that of one user.

    Root comes with groups, to be seen giving them up. ``program`` is how Python is told to be ``zerotrust``, ``within`` a command
    that runs it with less than root has.
    """
    command = [*within, PYTHON if uid or within else sys.executable, *program, "agent", "--socket", str(path)]
    with subprocess.Popen(
        command, env=dict(environment), cwd=environment["PYTHONPATH"], stderr=subprocess.PIPE, text=True, user=uid,
        group=uid, extra_groups=[4, 27] if uid is None else [],
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert said == "zerotrust agent: ready\n", said + process.stderr.read()
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


@contextmanager
def ticket_manager(folder: Path) -> Iterator[Path]:
    """sssd_kcm on a socket in ``folder``: the daemon behind ``KCM:`` caches. What it keeps goes with it."""
    path = folder / "kcm.sock"
    script = f"""
        for each in /var/lib/sss /etc/sssd /var/log/sssd /run; do mkdir -p $each && mount -t tmpfs tmpfs $each; done
        mkdir -p /var/lib/sss/db /var/lib/sss/secrets /etc/sssd/conf.d
        printf '[sssd]\\n[kcm]\\nsocket_path = {path}\\n' >/etc/sssd/sssd.conf && chmod 600 /etc/sssd/sssd.conf
        /usr/sbin/sssd --genconf-section=kcm && exec /usr/libexec/sssd/sssd_kcm --uid 0 --gid 0 --logger=stderr
    """
    path.unlink(missing_ok=True)
    with subprocess.Popen(["unshare", "-m", "sh", "-ec", script], stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _listens(path) or process.poll() is not None)
            assert process.poll() is None
            yield path
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
