"""Who attacks an agent or an endpoint from within: programs of the very user, their memory, and their questions without end."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes import front_door, users
from tests.fakes.front_door import FrontDoor
from tests.fakes.users import ALICE, MALLORY, PYTHON

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.fakes.realm import Realm

Environment = dict[str, str]
HELPER = [PYTHON, "-m", "zerotrust_kerberos", "credential-process", "--role"]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Alice's, in which others may look around."""
    with tempfile.TemporaryDirectory(prefix="zerotrust-intruders-") as name:
        os.chown(name, ALICE, 0)
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def _alice(realm: Realm, _door: FrontDoor, folder: Path) -> Iterator[Environment]:
    conf = folder / "krb5.conf"
    conf.write_text((realm.folder / "krb5.conf").read_text())
    with users.installed() as library:
        yield {
            "PYTHONPATH": str(library),
            "KRB5_CONFIG": str(conf),
            "KRB5CCNAME": f"FILE:{folder}/ccache",
            "ZEROTRUST_BROKER_URL": _door.url,
            "ZEROTRUST_AGENT": str(folder / "agent.sock"),
        }


@pytest.fixture
def alice(_alice: Environment, realm: Realm, folder: Path, door: FrontDoor) -> Environment:
    """Her programs' environment; she has just logged in."""
    log_in(realm, folder)
    return _alice


def log_in(realm: Realm, folder: Path, *options: str, cache: str = "ccache") -> None:
    path = folder / cache
    path.unlink(missing_ok=True)
    realm.kinit("alice", path, options=options)
    os.chown(path, ALICE, 0)


@contextmanager
def roots(alice: Environment, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The agent of all users, in a folder of root."""
    with tempfile.TemporaryDirectory(prefix="zerotrust-roots-") as name:
        Path(name).chmod(0o755)
        alice["ZEROTRUST_AGENT"] = f"{name}/agent.sock"
        try:
            with users.agent(alice, path=Path(name, "agent.sock")) as process:
                yield process
        finally:
            alice["ZEROTRUST_AGENT"] = str(folder / "agent.sock")


def worker_of(process: subprocess.Popen[str]) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


# ---- one login is not another ----


def test_a_new_login_of_the_same_person_is_judged_anew_and_a_renewed_ticket_is_the_same_login(
    alice: Environment, realm: Realm, folder: Path, door: FrontDoor
) -> None:
    """The broker may want a certificate for a role: who has but a password must not find what the certificate opened."""
    log_in(realm, folder, "-r", "2h")
    with users.agent(alice, path=folder / "agent.sock", uid=ALICE):
        assert users.run(ALICE, [*HELPER, "developer"], alice).returncode == 0
        renewed = users.run(ALICE, ["kinit", "-R"], alice)
        assert (renewed.returncode, renewed.stderr) == (0, "")
        assert users.run(ALICE, [*HELPER, "developer"], alice).returncode == 0
        assert len(door.visits) == 1
        door.reply = front_door.problem(403, "step_up_required")
        before = (folder / "ccache").stat().st_mtime
        while (folder / "ccache").stat().st_mtime < before + 1:  # the KDC's clock has seconds
            log_in(realm, folder)
        assert users.run(ALICE, [*HELPER, "developer"], alice).returncode == 7


# ---- memory ----

# All ways into another process of the same user, each by what the kernel says.
_LOOK = """
import ctypes, errno, os, sys
pid, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
def said(result):
    return errno.errorcode[ctypes.get_errno()] if result < 0 else "looked"
class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
held = ctypes.create_string_buffer(8)
here, there = Vector(ctypes.addressof(held), 8), Vector(0x400000, 8)
print("process_vm_readv", said(libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)))
print("pidfd_getfd", said(libc.syscall(438, os.pidfd_open(pid), 3, 0)))
for name in ("mem", "environ", "maps", "fd", "cwd"):
    try:
        path = f"/proc/{pid}/{name}"
        os.listdir(path) if name == "fd" else os.readlink(path) if name == "cwd" else open(path, "rb").close()
        print(name, "looked")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
print("ptrace", said(libc.ptrace(16, pid, 0, 0)))
"""
_WAYS = {"process_vm_readv", "pidfd_getfd", "mem", "environ", "maps", "fd", "cwd", "ptrace"}


def looked_into(pid: int) -> dict[str, str]:
    done = users.run(ALICE, [PYTHON, "-I", "-c", _LOOK, str(pid)], {})
    assert done.stderr == ""
    return dict(line.split() for line in done.stdout.splitlines())


def test_a_program_of_the_same_user_can_be_looked_into_if_it_does_not_hide() -> None:
    """Otherwise the two tests below would show nothing."""
    with users.started(ALICE, ["sleep", "60"], {}) as process:
        found = looked_into(process.pid)
        process.kill()
    assert {found[way] for way in ("mem", "environ", "maps", "fd", "cwd")} == {"looked"}
    assert found["process_vm_readv"] in {"looked", "EFAULT"}


def test_no_program_of_the_same_user_looks_into_what_keeps_credentials(alice: Environment, folder: Path) -> None:
    refused = dict.fromkeys(_WAYS, "EPERM") | dict.fromkeys(("mem", "environ", "maps", "fd", "cwd"), "EACCES")
    with users.agent(alice, path=folder / "agent.sock", uid=ALICE) as own:
        assert looked_into(own.pid) == refused
    with roots(alice, folder) as process:
        assert users.run(ALICE, [*HELPER, "developer"], alice).returncode == 0
        assert looked_into(worker_of(process)) == refused


def test_no_program_of_the_same_user_looks_into_the_endpoint_beside_a_command(alice: Environment, folder: Path) -> None:
    words = ["-m", "zerotrust_kerberos", "exec", "developer", "--", "sh", "-c", "echo ready; exec sleep 60"]
    with users.started(ALICE, [PYTHON, *words], {**alice, "TMPDIR": str(folder)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (endpoint,) = _endpoints_of(ALICE) - {process.pid}
        found = looked_into(endpoint)
        process.kill()
    assert "looked" not in found.values()
    assert set(found) == _WAYS


def _endpoints_of(uid: int) -> set[int]:
    """Running programs of ours of a user."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                is_ours = b"zerotrust_kerberos" in (entry / "cmdline").read_bytes()
                status = (entry / "status").read_text()
            except OSError:
                continue
            if is_ours and f"Uid:\t{uid}\t" in status:
                found.add(int(entry.name))
    return found


# ---- without end ----


def test_a_ticket_cache_without_an_end_does_not_take_the_machines_memory(
    alice: Environment, folder: Path, door: FrontDoor
) -> None:
    """A file of four GB with one component as long: what a worker reads is not counted as its user's."""
    endless = folder / "endless"
    # Version 4, no header; a principal of one component in a realm of 3 GB.
    endless.write_bytes(bytes.fromhex("0504 0000 00000001 00000001 c0000000"))
    os.truncate(endless, 4 * 1024**3)
    os.chown(endless, ALICE, 0)
    endless.chmod(0o600)
    with roots(alice, folder) as process:
        assert users.run(ALICE, [*HELPER, "developer"], alice).returncode == 0
        pid = worker_of(process)
        asking = [PYTHON, "-I", "-c", _ASK, alice["ZEROTRUST_AGENT"], f"FILE:{endless}", door.url]
        assert users.run(ALICE, asking, {}).stdout == "401"
        peak = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
        assert int(peak[0].split()[1]) < 512 * 1024
        assert users.run(ALICE, [*HELPER, "developer"], alice).returncode == 0
        assert worker_of(process) == pid
    endless.unlink()


def test_places_come_back_with_each_connection_that_a_worker_takes(alice: Environment, folder: Path) -> None:
    with roots(alice, folder):
        words = [alice["ZEROTRUST_AGENT"], alice["KRB5CCNAME"], alice["ZEROTRUST_BROKER_URL"]]
        script = f"for _ in range(300):\n    exec({_ASK!r})"
        done = users.run(ALICE, [PYTHON, "-I", "-c", script, *words], {})
        assert (done.stdout, done.stderr) == ("200" * 300, "")


_ASK = """
import socket, sys
path, cache, url = sys.argv[1:]
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(60)
connection.connect(path)
body = '{"role":"developer"}'
host = url.removeprefix("http://")
head = f"POST /v1/credentials HTTP/1.1\\r\\nHost: {host}\\r\\nX-Zerotrust-Request: 1\\r\\nX-Zerotrust-Ccache: {cache}\\r\\n"
connection.sendall(f"{head}Content-Length: {len(body)}\\r\\n\\r\\n{body}".encode())
sys.stdout.write(connection.recv(65536).decode().split(" ")[1])
"""


# ---- names ----


def test_root_in_a_user_namespace_is_whoever_made_it(alice: Environment, folder: Path, door: FrontDoor) -> None:
    with roots(alice, folder) as process:
        environment = {**alice, "KRB5CCNAME": "FILE:/nowhere"}
        done = users.run(MALLORY, ["unshare", "-U", "-r", *HELPER, "developer"], environment)
        assert done.returncode == 3, done.stderr
        status = Path(f"/proc/{worker_of(process)}/status").read_text()
        assert f"Uid:\t{MALLORY}\t" in status
    assert door.visits == []
