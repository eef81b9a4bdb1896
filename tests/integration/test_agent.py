"""``zerotrust agent`` as root, for real other users with real tickets: everybody gets their own, and nobody another's."""

from __future__ import annotations

import json
import os
import resource
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes import front_door, users
from tests.fakes.front_door import CREDENTIALS, FrontDoor
from tests.fakes.until import eventually
from tests.fakes.users import ALICE, MALLORY, PYTHON, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.realm import Realm

Environment = dict[str, str]
HELPER = [PYTHON, "-m", "zerotrust_kerberos", "credential-process", "--role", "developer"]


@pytest.fixture(scope="module")
def everybodys() -> Iterator[Path]:
    """A folder that all users can read, and none but root can write to."""
    with tempfile.TemporaryDirectory(prefix="zerotrust-agent-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def surroundings(realm: Realm, _door: FrontDoor, everybodys: Path) -> Iterator[Environment]:
    """What an agent and its users share: the realm as a machine has it, with ticket caches in /tmp, and where the broker is."""
    conf = everybodys / "krb5.conf"
    text = (realm.folder / "krb5.conf").read_text()
    conf.write_text(
        "[libdefaults]\n    default_ccache_name = FILE:/tmp/krb5cc_%{uid}\n" + text.replace("default_ccache_name", "#")
    )
    with users.installed() as library:
        yield {
            "PYTHONPATH": str(library),
            "KRB5_CONFIG": str(conf),
            "ZEROTRUST_BROKER_URL": _door.url,
            "ZEROTRUST_AGENT": str(everybodys / "agent.sock"),
        }


@pytest.fixture
def running(surroundings: Environment, door: FrontDoor) -> Iterator[subprocess.Popen[str]]:
    """An agent that nobody asked yet."""
    with users.agent(surroundings, path=Path(surroundings["ZEROTRUST_AGENT"])) as process:
        yield process


@pytest.fixture
def tickets(realm: Realm) -> Iterator[Tickets]:
    made = Tickets(realm)
    yield made
    made.remove()


OURS = "X-Zerotrust-Request: 1\r\n"


class Tickets:
    """Caches in /tmp, made by root for others."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._made: list[Path] = []

    def give(self, principal: str, *, uid: int, owner: int | None = None, name: str = "", **options: object) -> Path:
        """A login as ``principal`` where the user ``uid`` has theirs; the file belongs to ``owner``."""
        path = Path(f"/tmp/krb5cc_{uid}{name}")  # noqa: S108
        self._made.append(path)
        self._realm.kinit(principal, path, options=["-l", str(options.get("life", "1h"))])
        os.chown(path, uid if owner is None else owner, 0)
        return path

    def remove(self) -> None:
        for path in self._made:
            path.unlink(missing_ok=True)


_ASK = """
import socket, sys
path, host, ours, more = sys.argv[1:5]
body = b'{"role":"developer"}'
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(60)
connection.connect(path)
try:
    connection.sendall((
        f"POST /v1/credentials HTTP/1.1\\r\\nHost: {host}\\r\\n{ours}{more}"
        f"Content-Length: {len(body)}\\r\\n\\r\\n").encode() + body)
    answer = b"".join(iter(lambda: connection.recv(65536), b""))
except ConnectionError:
    answer = b""
sys.stdout.write(answer.decode())
"""


def asked(
    uid: int,
    surroundings: Environment,
    *,
    host: str | None = None,
    ours: str = OURS,
    more: str = "",
) -> tuple[int, dict[str, str]]:
    """The agent's status and members for the user ``uid``; 0 where it hung up without a word."""
    host = host or surroundings["ZEROTRUST_BROKER_URL"].removeprefix("http://")
    done = users.run(uid, [PYTHON, "-I", "-c", _ASK, surroundings["ZEROTRUST_AGENT"], host, ours, more], {})
    assert done.stderr == ""
    if not done.stdout:
        return 0, {}
    head, _, body = done.stdout.partition("\n\n")  # text: its line ends are one character
    return int(head.split(" ")[1]), json.loads(body)


# ---- to each their own ----


def test_each_user_gets_credentials_for_their_own_ticket(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    tickets.give("mallory", uid=MALLORY)
    for uid in (ALICE, MALLORY, ALICE, MALLORY):
        assert asked(uid, surroundings)[0] == 200
    assert [visit.principal for visit in door.visits] == ["alice@EXAMPLE.COM", "mallory@EXAMPLE.COM"]


def test_a_user_without_a_ticket_gets_nothing_of_what_others_were_given(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    assert asked(ALICE, surroundings)[0] == 200
    status, said = asked(MALLORY, surroundings)
    assert (status, said["code"]) == (401, "no_ticket")
    assert len(door.visits) == 1


def test_a_hundred_questions_at_once_are_one_to_the_broker(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    script = f"""
import threading
answers, source = [], {_ASK.replace("sys.stdout.write(answer.decode())", "answers.append(answer)")!r}
threads = [threading.Thread(target=lambda: exec(source, {{"answers": answers}})) for _ in range(100)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sum({CREDENTIALS["access_key_id"]!r} in answer.decode() for answer in answers))
"""
    host = surroundings["ZEROTRUST_BROKER_URL"].removeprefix("http://")
    done = users.run(ALICE, [PYTHON, "-I", "-c", script, surroundings["ZEROTRUST_AGENT"], host, OURS, ""], {})
    assert (done.stdout, done.stderr) == ("100\n", "")
    assert len(door.visits) == 1


def test_the_helper_asks_the_agent_and_needs_no_ticket_of_its_own_to_be_read(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    lines = [users.run(ALICE, HELPER, surroundings) for _ in range(3)]
    assert {(done.returncode, done.stderr) for done in lines} == {(0, "")}
    assert len({done.stdout for done in lines}) == 1
    assert len(door.visits) == 1


def test_a_refusal_of_the_broker_reaches_the_helper_through_the_agent(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    door.reply = front_door.problem(403, "approval_required", hint="ask bob", request_id="r-1")
    done = users.run(ALICE, HELPER, surroundings)
    assert done.returncode == 7
    assert '("ask bob"; request r-1) [approval_required] — run: ' in done.stderr
    assert len(door.visits) == 1


# ---- whose ticket it is ----


def test_a_cache_that_somebody_else_put_there_is_not_looked_at(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    planted = tickets.give("mallory", uid=ALICE, owner=MALLORY)
    planted.chmod(0o644)
    status, said = asked(ALICE, surroundings)
    assert (status, said["code"]) == (401, "no_ticket")
    assert "belongs to somebody else" in said["hint"]
    assert door.visits == []


@pytest.mark.parametrize("to", ["own", "foreign"])
def test_no_link_leads_to_a_cache(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets, to: str
) -> None:
    """To one of one's own neither: who may make links in /tmp would say which login counts."""
    target = tickets.give("mallory", uid=ALICE if to == "own" else MALLORY, name="-elsewhere")
    target.chmod(0o600 if to == "own" else 0o644)
    link = Path(f"/tmp/krb5cc_{ALICE}")  # noqa: S108
    link.symlink_to(target)
    try:
        os.chown(link, ALICE, 0, follow_symlinks=False)
        for named in ("", f"X-Zerotrust-Ccache: FILE:{link}\r\n"):
            assert asked(ALICE, surroundings, more=named)[1]["code"] == "no_ticket"
    finally:
        link.unlink()
    assert door.visits == []


def test_a_cache_that_others_may_write_to_is_not_looked_at(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE).chmod(0o666)
    assert asked(ALICE, surroundings)[1]["code"] == "no_ticket"
    assert door.visits == []


def test_nobody_names_another_users_cache(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    theirs = tickets.give("alice", uid=ALICE)
    assert asked(ALICE, surroundings)[0] == 200
    status, said = asked(MALLORY, surroundings, more=f"X-Zerotrust-Ccache: FILE:{theirs}\r\n")
    assert (status, said["code"]) == (401, "no_ticket")
    assert len(door.visits) == 1


def test_who_logs_in_as_somebody_else_never_gets_what_the_former_was_given(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    assert asked(ALICE, surroundings)[0] == 200
    tickets.give("mallory", uid=ALICE)
    door.reply = front_door.problem(403, "access_denied")
    assert asked(ALICE, surroundings)[0] == 403
    assert [visit.principal for visit in door.visits] == ["alice@EXAMPLE.COM", "mallory@EXAMPLE.COM"]


def test_who_logs_in_as_somebody_else_while_the_broker_answers_gets_nothing_of_it(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)

    def reply(visit: front_door.Visit) -> None:
        tickets.give("mallory", uid=ALICE)
        front_door.credentials(visit)

    door.reply = reply
    status, said = asked(ALICE, surroundings)
    assert (status, said["code"]) == (401, "no_ticket")
    assert CREDENTIALS["access_key_id"] not in str(said)


def test_of_several_logins_in_tmp_the_longest_counts_once_the_default_one_has_ended(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("mallory", uid=ALICE, name="_short", life="10m")
    tickets.give("alice", uid=ALICE, name="_long", life="2h")
    tickets.give("root/admin", uid=ALICE, name="_planted", life="9h", owner=MALLORY).chmod(0o644)
    tickets.give("root/admin", uid=ALICE, name="0", life="9h", owner=ALICE)  # of another uid, by its name
    assert asked(ALICE, surroundings)[0] == 200
    tickets.give("mallory", uid=ALICE)
    assert asked(ALICE, surroundings)[0] == 200
    assert [visit.principal for visit in door.visits] == ["alice@EXAMPLE.COM", "mallory@EXAMPLE.COM"]


# ---- all kinds of ticket caches ----


def _kinit(uid: int, cache: str, surroundings: Environment, principal: str = "alice") -> None:
    """As the user themselves do: root could not open a keyring or the daemon's cache of theirs."""
    passwords = {"alice": "wonderland", "mallory": "mischief"}
    script = f"printf '%s\\n' {passwords[principal]} | kinit {principal}"
    done = users.run(uid, ["sh", "-c", script], {**surroundings, "KRB5CCNAME": cache})
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def kcm(surroundings: Environment, everybodys: Path) -> Iterator[Path]:
    with users.ticket_manager(everybodys) as path:
        yield path


@pytest.mark.parametrize("kind", ["FILE", "DIR", "KEYRING", "KCM"])
def test_the_default_cache_of_krb5_conf_is_found_of_each_kind(
    surroundings: Environment, door: FrontDoor, everybodys: Path, kcm: Path, kind: str
) -> None:
    home = everybodys / f"home-{kind}"
    home.mkdir()
    os.chown(home, ALICE, 0)
    (home / "tickets").mkdir(mode=0o700)
    os.chown(home / "tickets", ALICE, 0)
    cache = {
        "FILE": f"FILE:{home}/ccache-%{{uid}}",
        "DIR": f"DIR:{home}/tickets",
        "KEYRING": "KEYRING:persistent:%{uid}",
        "KCM": "KCM:",
    }[kind]
    conf = everybodys / f"krb5-{kind}.conf"
    more = f"[libdefaults]\n    default_ccache_name = {cache}\n    kcm_socket = {kcm}\n"
    conf.write_text(more + Path(surroundings["KRB5_CONFIG"]).read_text().replace("default_ccache_name", "#"))
    ours = {**surroundings, "KRB5_CONFIG": str(conf)}
    _kinit(ALICE, cache.replace("%{uid}", str(ALICE)), ours)
    with users.agent(ours, path=Path(ours["ZEROTRUST_AGENT"])):
        assert asked(ALICE, ours)[0] == 200
        assert asked(MALLORY, ours)[0] == 401
        assert [visit.principal for visit in door.visits] == ["alice@EXAMPLE.COM"]
        done = users.run(ALICE, ["kdestroy", "-A"], {**ours, "KRB5CCNAME": cache.replace("%{uid}", str(ALICE))})
        assert done.returncode == 0, done.stderr
        assert asked(ALICE, ours)[1]["code"] == "no_ticket"


def test_a_shell_with_a_cache_of_its_own_is_that_login_to_the_agent_too(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    other = tickets.give("mallory", uid=ALICE, name="_other")
    assert users.run(ALICE, HELPER, surroundings).returncode == 0
    assert users.run(ALICE, HELPER, {**surroundings, "KRB5CCNAME": f"FILE:{other}"}).returncode == 0
    assert [visit.principal for visit in door.visits] == ["alice@EXAMPLE.COM", "mallory@EXAMPLE.COM"]


def test_a_login_that_only_the_user_can_see_goes_to_the_broker_without_the_agent(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    script = f"printf 'wonderland\\n' | kinit alice && exec {' '.join(HELPER)}"
    ours = {**surroundings, "KRB5CCNAME": "KEYRING:session:mine"}
    done = users.run(ALICE, ["keyctl", "session", "-", "sh", "-c", script], ours)
    assert done.returncode == 0, done.stderr
    assert CREDENTIALS["access_key_id"] in done.stdout
    assert [visit.principal for visit in door.visits] == ["alice@EXAMPLE.COM"]


# ---- root hands out, and does nothing else ----


def test_a_worker_is_its_user_and_nothing_more(
    running: subprocess.Popen[str], surroundings: Environment, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    tickets.give("mallory", uid=MALLORY)
    assert asked(ALICE, surroundings)[0] == asked(MALLORY, surroundings)[0] == 200
    found = _workers(running)
    assert set(found) == {ALICE, MALLORY}
    for uid, pid in found.items():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        assert status["Uid"] == [str(uid)] * 4
        assert status["Gid"] == ["65534"] * 4
        assert status["Groups"] == []
        assert {status[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert status["NoNewPrivs"] == ["1"]
        assert "Max core file size        0                    0" in Path(f"/proc/{pid}/limits").read_text()
        # Not dumpable: /proc belongs to root, so that not even its own user attaches a debugger.
        assert Path(f"/proc/{pid}/mem").stat().st_uid == 0
        gdb = f"open('/proc/{pid}/mem', 'rb')"
        assert "PermissionError" in users.run(uid, [PYTHON, "-c", gdb], {}).stderr


def test_a_worker_holds_neither_the_listener_nor_another_users_channel(
    running: subprocess.Popen[str], surroundings: Environment, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    tickets.give("mallory", uid=MALLORY)
    assert asked(ALICE, surroundings)[0] == asked(MALLORY, surroundings)[0] == 200
    parents = _sockets(running.pid)
    held = [_sockets(pid) for pid in _workers(running).values()]
    assert all(parents.isdisjoint(each) for each in held)
    assert held[0].isdisjoint(held[1])


def test_root_is_a_user_like_others_with_a_worker_that_can_do_nothing_more(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    own = tickets.give("mallory", uid=0, name=f"_{ALICE}")
    there = f"X-Zerotrust-Ccache: FILE:{own}\r\n"
    assert asked(0, surroundings, more=there)[0] == asked(0, surroundings, more=there)[0] == 200
    assert [visit.principal for visit in door.visits] == ["mallory@EXAMPLE.COM"]
    status = Path(f"/proc/{_workers(running)[0]}/status").read_text()
    assert [f"{name}:\t{0:016x}" in status for name in ("CapPrm", "CapEff", "CapInh")] == [True] * 3
    # Nor is it a way to another's ticket.
    theirs = f"X-Zerotrust-Ccache: FILE:/tmp/krb5cc_{ALICE}\r\n"
    assert asked(0, surroundings, more=theirs)[1]["code"] == "no_ticket"


def test_who_has_no_name_outside_their_namespace_gets_nothing(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    assert asked(65534, surroundings) == (0, {})
    assert _workers(running) == {}


def test_a_worker_that_was_killed_is_started_anew(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    assert asked(ALICE, surroundings)[0] == 200
    pid = _workers(running)[ALICE]
    os.kill(pid, 9)
    eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert asked(ALICE, surroundings)[0] == 200
    assert len(door.visits) == 2


def test_workers_end_with_their_parent_however_that_ends(
    running: subprocess.Popen[str], surroundings: Environment, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    assert asked(ALICE, surroundings)[0] == 200
    pid = _workers(running)[ALICE]
    running.kill()
    running.wait()
    eventually(lambda: not Path(f"/proc/{pid}").exists())


# With its minute as half a second.
_HASTY = """
from zerotrust_kerberos.agent import worker
worker.IDLE = 0.5
from zerotrust_kerberos import cli
cli.main()
"""


def test_a_worker_without_work_ends_and_the_next_question_starts_another(
    surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    path = Path(surroundings["ZEROTRUST_AGENT"])
    with users.agent(surroundings, path=path, program=["-c", _HASTY]) as running:
        assert asked(ALICE, surroundings)[0] == 200
        pid = _workers(running)[ALICE]
        time.sleep(2)
        assert _workers(running) == {ALICE: pid}  # it keeps something
        door.reply = front_door.problem(403, "access_denied")
        assert asked(MALLORY, surroundings)[0] == 401  # nothing to keep
        eventually(lambda: set(_workers(running)) == {ALICE})
        tickets.give("mallory", uid=MALLORY)
        assert asked(MALLORY, surroundings)[0] == 403


def test_a_connection_that_is_on_its_way_while_a_worker_ends_is_not_lost() -> None:
    """What the end of a worker relies on: what was sent before is there, and what comes later is refused (unix(7))."""
    parent, worker = socket.socketpair()
    with parent, worker, socket.socket(socket.AF_UNIX) as connection:
        socket.send_fds(parent, [b"\0"], [connection.fileno()])
        worker.shutdown(socket.SHUT_RD)
        with pytest.raises(BrokenPipeError):
            socket.send_fds(parent, [b"\0"], [connection.fileno()])
        message, (descriptor,), _, _ = socket.recv_fds(worker, 1, 1)
        os.close(descriptor)
        assert message == b"\0"
        assert socket.recv_fds(worker, 1, 1)[0] == b""


_HOLD = """
import os, socket, sys, time
held = [socket.socket(socket.AF_UNIX) for _ in range(int(sys.argv[2]))]
for connection in held:
    connection.connect(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_a_user_who_takes_all_descriptors_takes_their_own(
    surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    tickets.give("mallory", uid=MALLORY)
    with users.agent(surroundings, path=Path(surroundings["ZEROTRUST_AGENT"])) as running:
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (40, 40))
        assert asked(MALLORY, surroundings)[0] == 200
        pid = _workers(running)[MALLORY]
        with users.started(MALLORY, [PYTHON, "-c", _HOLD, surroundings["ZEROTRUST_AGENT"], "200"], {}) as hostile:
            assert hostile.stdout is not None
            assert hostile.stdout.readline() == "held\n"
            assert asked(ALICE, surroundings)[0] == 200
            hostile.kill()
        eventually(lambda: asked(MALLORY, surroundings)[0] == 200)
        assert _workers(running)[MALLORY] == pid


def test_a_user_who_stops_their_own_worker_stops_nobody_elses(
    surroundings: Environment, running: subprocess.Popen[str], tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    tickets.give("mallory", uid=MALLORY)
    assert asked(MALLORY, surroundings)[0] == 200
    pid = str(_workers(running)[MALLORY])
    users.run(MALLORY, ["kill", "-STOP", pid], {})
    with users.started(MALLORY, [PYTHON, "-c", _HOLD, surroundings["ZEROTRUST_AGENT"], "900"], {}) as hostile:
        assert hostile.stdout is not None
        assert hostile.stdout.readline() == "held\n"
        assert asked(ALICE, surroundings)[0] == 200
        hostile.kill()
    # Or it would outlive the agent, which it cannot see end.
    users.run(MALLORY, ["kill", "-CONT", pid], {})


def test_two_capabilities_are_all_that_root_needs(surroundings: Environment, door: FrontDoor, tickets: Tickets) -> None:
    """Those of the unit."""
    tickets.give("alice", uid=ALICE)
    unit = (ROOT / "systemd" / "zerotrust-agent.service").read_text()
    (line,) = [line for line in unit.splitlines() if line.startswith("CapabilityBoundingSet=")]
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in line.partition("=")[2].split())
    within = ["setpriv", f"--bounding-set=-all,{kept}", "--inh-caps=-all", "--no-new-privs"]
    with users.agent(surroundings, path=Path(surroundings["ZEROTRUST_AGENT"]), within=within) as running:
        status = Path(f"/proc/{running.pid}/status").read_text()
        assert "CapEff:\t00000000000000c0" in status  # CAP_SETGID is 6, CAP_SETUID is 7
        assert asked(ALICE, surroundings)[0] == 200


# ---- the socket ----


def test_another_brokers_roles_are_not_mixed_up_with_ours(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    assert asked(ALICE, surroundings)[0] == 200
    status, said = asked(ALICE, surroundings, host="other.example.com")
    assert (status, said["code"]) == (421, "host_not_allowed")
    there = {**surroundings, "ZEROTRUST_BROKER_URL": "http://broker.localhost:1"}
    assert "[broker_unreachable]" in users.run(ALICE, HELPER, there).stderr


def test_what_a_page_could_send_by_a_port_that_leads_to_the_socket_gets_nothing(
    running: subprocess.Popen[str], surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    assert asked(ALICE, surroundings)[0] == 200
    assert asked(ALICE, surroundings, host="evil.example:8080")[0] == 421
    sent = ({"ours": ""}, {"more": "Origin: http://evil.example\r\n"}, {"more": "Sec-Fetch-Site: same-origin\r\n"})
    for each in (*sent, {"more": "X-Forwarded-For: 10.0.0.1\r\n"}):
        status, said = asked(ALICE, surroundings, **each)
        assert (status, said["code"]) == (403, "cross_site_blocked")


def test_the_helper_believes_no_agent_of_another_user(
    surroundings: Environment, door: FrontDoor, tickets: Tickets, everybodys: Path
) -> None:
    tickets.give("alice", uid=ALICE)
    folder = everybodys / "theirs"
    folder.mkdir()
    os.chown(folder, MALLORY, 0)
    script = """
import os, socket, sys
os.umask(0)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
connection, _ = listener.accept()
print(connection.recv(10), flush=True)
"""
    with users.started(MALLORY, [PYTHON, "-c", script, str(folder / "agent.sock")], {}) as hostile:
        assert hostile.stdout is not None
        assert hostile.stdout.readline() == "ready\n"
        done = users.run(ALICE, HELPER, {**surroundings, "ZEROTRUST_AGENT": str(folder / "agent.sock")})
        assert hostile.stdout.readline() == "b''\n"
    assert CREDENTIALS["access_key_id"] in done.stdout
    assert len(door.visits) == 1


def test_without_an_agent_the_helper_goes_to_the_broker(
    surroundings: Environment, door: FrontDoor, tickets: Tickets
) -> None:
    tickets.give("alice", uid=ALICE)
    assert users.run(ALICE, HELPER, surroundings).returncode == 0
    assert len(door.visits) == 1


def test_everybody_may_connect_and_what_a_killed_agent_left_is_no_hindrance(
    surroundings: Environment, door: FrontDoor
) -> None:
    path = Path(surroundings["ZEROTRUST_AGENT"])
    with users.agent(surroundings, path=path) as first:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        again = users.run(0, [*HELPER[:3], "agent", "--socket", str(path)], surroundings)
        assert again.returncode == 2
        assert "an agent listens there already" in again.stderr
        first.kill()
        first.wait()
    assert path.exists()
    with users.agent(surroundings, path=path):
        assert asked(ALICE, surroundings)[0] == 401
    assert not path.exists()


def test_no_socket_is_made_in_a_folder_of_somebody_else(surroundings: Environment, everybodys: Path) -> None:
    folder = everybodys / "hostile"
    folder.mkdir()
    os.chown(folder, MALLORY, 0)
    (everybodys / "link").symlink_to(everybodys)
    for path in (folder / "agent.sock", everybodys / "link" / "agent.sock"):
        done = users.run(0, [*HELPER[:3], "agent", "--socket", str(path)], surroundings)
        assert done.returncode == 2
        assert "its folder is a link, or others may write to it" in done.stderr


def test_systemd_may_give_the_socket(surroundings: Environment, door: FrontDoor, tickets: Tickets) -> None:
    tickets.give("alice", uid=ALICE)
    path = Path(surroundings["ZEROTRUST_AGENT"])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        given = f"exec 3<&{listener.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1"
        script = f"{given}; exec {PYTHON} -m zerotrust_kerberos agent"
        with subprocess.Popen(
            ["bash", "-c", script], env=surroundings, pass_fds=[listener.fileno()], stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == "zerotrust agent: ready\n"
            assert asked(ALICE, surroundings)[0] == 200
            process.terminate()
            process.wait(users.PATIENCE)
    path.unlink()


def test_an_agent_of_ones_own_serves_nobody_else(
    surroundings: Environment, door: FrontDoor, tickets: Tickets, everybodys: Path
) -> None:
    tickets.give("alice", uid=ALICE)
    folder = everybodys / "own"
    folder.mkdir()
    os.chown(folder, ALICE, 0)
    ours = {**surroundings, "ZEROTRUST_AGENT": str(folder / "agent.sock")}
    with users.agent(ours, path=folder / "agent.sock", uid=ALICE):
        assert stat.S_IMODE((folder / "agent.sock").stat().st_mode) == 0o600
        assert asked(ALICE, ours)[0] == 200
        (folder / "agent.sock").chmod(0o666)
        assert asked(MALLORY, ours) == asked(0, ours) == (0, {})
        assert users.run(ALICE, HELPER, ours).returncode == 0
    assert len(door.visits) == 1


def _workers(process: subprocess.Popen[str]) -> dict[int, int]:
    """The workers of an agent by their uid."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = {}
    for pid in children:
        (uid,) = [
            line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line[:4] == "Uid:"
        ]
        found[int(uid)] = int(pid)
    return found


def _sockets(pid: int) -> set[str]:
    folder = Path(f"/proc/{pid}/fd")
    return {target for each in folder.iterdir() if (target := str(each.readlink())).startswith("socket:")}
