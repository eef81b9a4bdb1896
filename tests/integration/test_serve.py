"""``zerotrust serve`` and the endpoint beside a command: who gets credentials of them, and who gets nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.utils import InstanceMetadataFetcher

from tests.fakes import front_door
from tests.fakes.front_door import CREDENTIALS, FrontDoor
from tests.fakes.served import PYTHON, ROOT, Served, as_another, raw, serving
from tests.fakes.until import eventually
from zerotrust_kerberos.agent.http import CONNECTIONS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.realm import Realm

Environment = dict[str, str]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runtime")
    folder.chmod(0o700)
    return folder


@pytest.fixture(scope="module")
def _ticket(realm: Realm, runtime: Path) -> tuple[Environment, bytes]:
    """Alice's login, and what its cache holds."""
    cache = runtime.parent / "serve-ccache"
    return realm.kinit("alice", cache), cache.read_bytes()


@pytest.fixture(scope="module")
def _login(_ticket: tuple[Environment, bytes], _door: FrontDoor, runtime: Path) -> Environment:
    return {**_ticket[0], "ZEROTRUST_BROKER_URL": _door.url, "XDG_RUNTIME_DIR": str(runtime)}


@pytest.fixture
def login(_login: Environment, _ticket: tuple[Environment, bytes], door: FrontDoor) -> Environment:
    """Alice is logged in again, whoever logged in there before, and the broker gives her what she asks for."""
    cache_of(_login).write_bytes(_ticket[1])
    return _login


@pytest.fixture(scope="module")
def _served(_login: Environment) -> Iterator[Served]:
    with serving(_login, "--role", "developer", "--imds") as served:
        yield served


@pytest.fixture
def served(_served: Served, login: Environment) -> Served:
    """One for all tests of this file."""
    return _served


def cache_of(login: Environment) -> Path:
    return Path(login["KRB5CCNAME"].removeprefix("FILE:"))


# ---- what an SDK gets ----


def test_a_program_of_the_same_user_with_the_token_gets_what_the_sdks_read(served: Served) -> None:
    answer = served.ask()
    assert answer is not None
    assert answer.status == 200
    assert "cache-control: no-store" in answer.head.lower()
    assert json.loads(answer.body) == {
        "AccessKeyId": CREDENTIALS["access_key_id"],
        "SecretAccessKey": CREDENTIALS["secret_access_key"],
        "Token": CREDENTIALS["session_token"],
        "Expiration": CREDENTIALS["expiration"],
        "AccountId": CREDENTIALS["account"],
        "RoleArn": CREDENTIALS["role_arn"],
    }


def test_the_broker_is_asked_once_for_many_questions(served: Served, door: FrontDoor) -> None:
    assert {answer.status for _ in range(20) if (answer := served.ask())} == {200}
    assert door.visits == []


def test_the_token_is_in_a_file_of_the_users_alone_without_a_line_feed(served: Served) -> None:
    file = Path(served.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
    assert len(served.token) == 64
    assert served.token.isalnum()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_botocore_signs_with_what_the_metadata_service_gives(served: Served) -> None:
    base = served.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
    found = InstanceMetadataFetcher(env={}, base_url=base).retrieve_iam_role_credentials()
    assert found["access_key"] == CREDENTIALS["access_key_id"]
    assert found["token"] == CREDENTIALS["session_token"]
    assert found["role_name"] == "developer"


# ---- who gets nothing ----

_CONNECT = """
import socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30)
try:
    connection.sendall(sys.argv[2].encode())
    sys.stdout.write(connection.recv(65536).decode())
except ConnectionError:
    pass
"""


def test_another_user_gets_nothing_even_with_the_token(served: Served) -> None:
    request = f"GET {served.path} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: {served.token}\r\n\r\n"
    assert raw(served.port, request.encode()) is not None
    done = as_another(_CONNECT, str(served.port), request)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_another_user_gets_no_metadata_token(served: Served) -> None:
    request = (
        f"PUT /latest/api/token HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
        "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n"
    )
    assert raw(served.port, request.encode()) is not None
    assert as_another(_CONNECT, str(served.port), request).stdout == ""


# A container of the same user on the same network: it has neither the files of the machine, nor what they say.
_WITHIN = 'mount -t tmpfs tmpfs "$1"; shift; exec "$@"'
_ASK = """
import os, socket, sys
root, port, path, file, ttl = sys.argv[1:]
"".encode("idna")  # loads what a connection needs
os.chroot(root)
assert not os.path.exists(file)
for method, where, header in (
    ("GET", path, "Accept: */*"), ("PUT", "/latest/api/token", ttl),
    ("GET", "/latest/meta-data/iam/security-credentials/developer", "Accept: */*"),
):
    connection = socket.create_connection(("127.0.0.1", int(port)), timeout=30)
    connection.sendall(f"{method} {where} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n{header}\\r\\n\\r\\n".encode())
    print(connection.recv(65536).decode().split(" ")[1])
"""
_TTL = "X-aws-ec2-metadata-token-ttl-seconds: 60"


@pytest.mark.parametrize(
    "own",
    [("--mount", "--pid"), ("--mount", "--pid", "--user", "--map-root-user"), ()],
    ids=["rootful", "rootless", "chroot"],
)
def test_a_container_without_the_token_gets_nothing(
    served: Served, runtime: Path, tmp_path: Path, own: tuple[str, ...]
) -> None:
    file = served.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
    shut = ["unshare", *own, "--fork", "sh", "-ec", _WITHIN, "sh", str(runtime)] if own else []
    ask = [PYTHON, "-I", "-c", _ASK, "/" if own else str(tmp_path), str(served.port), served.path, file, _TTL]
    done = subprocess.run([*shut, *ask], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["401", "403", "401"], "")


def test_a_container_with_a_network_of_its_own_does_not_see_the_endpoint(served: Served) -> None:
    script = f"import socket; socket.create_connection(('127.0.0.1', {served.port}))"
    command = ["unshare", "--net", "sh", "-ec", 'ip link set lo up; exec "$@"', "sh", PYTHON, "-I", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "ConnectionRefusedError" in done.stderr


@pytest.mark.parametrize("token", [None, "", "wrong", "0" * 64])
def test_without_the_token_nobody_gets_anything(served: Served, token: str | None) -> None:
    answer = served.ask(Authorization=token)
    assert answer is not None
    assert answer.status == 401
    assert CREDENTIALS["secret_access_key"].encode() not in answer.body


@pytest.mark.parametrize("change", [(0, -1, ""), (1, None, ""), (0, None, "0"), (0, -1, "g")])
def test_a_token_counts_only_whole(served: Served, change: tuple[int, int | None, str]) -> None:
    start, end, more = change
    answer = served.ask(Authorization=served.token[start:end] + more)
    assert answer is not None
    assert answer.status == 401


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "localhost", "127.0.0.1", "localhost:{port}", "evil.example:{port}"]
)
def test_a_page_that_calls_us_by_its_own_name_gets_nothing(served: Served, host: str | None) -> None:
    answer = served.ask(Host=host and host.format(port=served.port))
    assert answer is not None
    assert answer.status == 403


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Origin", "http://127.0.0.1"),
        ("Origin", "null"),
        ("Referer", "http://evil.example/"),
        ("Sec-Fetch-Site", "none"),
        ("Sec-Fetch-Mode", "navigate"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1"),
        ("Via", "1.1 proxy"),
        ("Access-Control-Request-Method", "PUT"),
        ("Cookie", "a=b"),
    ],
)
@pytest.mark.parametrize("path", [None, "/latest/api/token"])
def test_what_a_browser_or_a_proxy_sends_gets_nothing(served: Served, header: str, value: str, path: str) -> None:
    extra = {header: value, "X-aws-ec2-metadata-token-ttl-seconds": "60"}
    answer = served.ask("PUT" if path else "GET", path, **extra)
    assert answer is not None
    assert answer.status == 403


@pytest.mark.parametrize(
    "request_",
    [
        "GET http://127.0.0.1:{port}{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {token}\r\n\r\n",
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {token}\r\n\r\n",
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {token}\r\n x\r\n\r\n",
        "GET {path} HTTP/1.1\r\nHost : 127.0.0.1:{port}\r\nAuthorization: {token}\r\n\r\n",
        "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {token}\r\n\r\n",
        "GET {path}\r\n\r\n",
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 99999\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_not_read(served: Served, request_: str) -> None:
    answer = raw(served.port, request_.format(port=served.port, path=served.path, token=served.token).encode())
    assert answer is not None
    assert answer.status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", None, 405),
        ("GET", "/", 404),
        ("GET", "/v1/container/readonly", 404),
        ("GET", "/v1/container/developer/", 404),
        ("GET", "/v1/container/developer?role=readonly", 404),
        ("GET", "/latest/dynamic/instance-identity/document", 404),
        ("GET", "/latest/meta-data/", 404),
        ("GET", "/latest/api/token", 405),
        ("PUT", "/latest/meta-data/iam/security-credentials/", 405),
    ],
)
def test_there_is_nothing_else_here(served: Served, method: str, path: str | None, status: int) -> None:
    answer = served.ask(method, path)
    assert answer is not None
    assert answer.status == status


# ---- the metadata service ----


@pytest.mark.parametrize("path", ["", "developer"])
@pytest.mark.parametrize("token", [None, "", "0.0", "zz.0", "ffffffff.0"])
def test_the_first_version_of_the_protocol_is_refused(served: Served, path: str, token: str | None) -> None:
    where = f"/latest/meta-data/iam/security-credentials/{path}"
    answer = served.ask("GET", where, X_aws_ec2_metadata_token=token)
    assert answer is not None
    assert answer.status == 401


@pytest.mark.parametrize("ttl", [None, "", "0", "21601", "-1", "1.5", "\uff16\uff10", "9" * 5000])
def test_a_metadata_token_lasts_a_second_to_six_hours(served: Served, ttl: str | None) -> None:
    answer = served.ask("PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds=ttl)
    assert answer is not None
    assert answer.status == 400


def test_without_being_asked_to_nobody_is_a_metadata_service(login: Environment) -> None:
    with serving(login, "--role", "developer", "--token", "environment") as plain:
        answer = plain.ask("PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60")
        assert answer is not None
        assert answer.status == 404
        assert set(plain.environment) == {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"}
        answer = plain.ask()
        assert answer is not None
        assert answer.status == 200


# ---- whose ticket it is ----


def test_who_logs_in_as_somebody_else_never_gets_what_the_former_was_given(
    served: Served, door: FrontDoor, realm: Realm, login: Environment
) -> None:
    answer = served.ask()
    assert answer is not None
    assert answer.status == 200
    alice = cache_of(login).read_bytes()
    realm.kinit("mallory", cache_of(login))
    door.reply = front_door.problem(403, "access_denied")
    answer = served.ask()
    assert answer is not None
    assert answer.status == 403
    assert [visit.principal for visit in door.visits] == ["mallory@EXAMPLE.COM"]
    cache_of(login).write_bytes(alice)
    answer = served.ask()
    assert answer is not None
    assert answer.status == 200
    assert len(door.visits) == 1


def test_after_a_logout_there_are_no_credentials(served: Served, login: Environment) -> None:
    subprocess.run(["kdestroy"], env={"PATH": os.environ["PATH"], **login}, check=True)
    answer = served.ask()
    assert answer is not None
    assert answer.status == 401
    said = json.loads(answer.body)
    assert said["Code"] == "no_ticket"
    assert said["Message"].endswith("[no_ticket] — run: zerotrust login")


def test_a_ticket_that_has_ended_is_none(served: Served, door: FrontDoor, realm: Realm, login: Environment) -> None:
    cache = cache_of(login)
    realm.kinit("alice", cache, options=["-l", "2s"])
    eventually(lambda: (answer := served.ask()) is not None and b"ticket_expired" in answer.body)
    door.visits.clear()  # while it lasted it was a new login, which the broker is asked about
    answer = served.ask()
    assert answer is not None
    assert answer.status == 401
    assert door.visits == []


# ---- how it ends, and what it costs ----


def test_who_may_not_have_the_role_hears_so_at_once(door: FrontDoor, login: Environment) -> None:
    door.reply = front_door.problem(403, "access_denied")
    done = subprocess.run(
        [sys.executable, "-m", "zerotrust_kerberos", "serve", "--role", "developer"],
        env=login, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 4
    assert done.stdout == ""
    assert "[access_denied] — run: " in done.stderr


def test_it_leaves_nothing_behind_and_the_next_removes_what_a_kill_left(login: Environment, runtime: Path) -> None:
    with serving(login, "--role", "developer") as first:
        file = Path(first.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
        assert file.exists()
    assert not file.parent.exists()
    with serving(login, "--role", "developer") as killed:
        file = Path(killed.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
        killed.process.kill()
        killed.process.wait()
    assert file.exists()
    with serving(login, "--role", "developer"):
        assert not file.parent.exists()


# With its five seconds as two.
_IMPATIENT = """
from zerotrust_kerberos.agent import http
http.PATIENCE = 2.0
from zerotrust_kerberos import cli
cli.main()
"""


def test_connections_that_say_nothing_take_no_place_from_others(login: Environment) -> None:
    with serving(login, "--role", "developer", program=["-c", _IMPATIENT]) as served, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port))) for _ in range(100)]
        answer = served.ask()
        assert answer is not None
        assert answer.status == 200
        assert silent[0].recv(1) == b""  # cut off in its time


_FLOOD = """
import socket, sys, time
held = []
for _ in range(int(sys.argv[2])):
    held.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30))
print(sum(connection.recv(1) == b"" for connection in held))
"""


def test_another_user_cannot_take_all_places(served: Served) -> None:
    flood = str(CONNECTIONS_MAX + 20)
    assert as_another(_FLOOD, str(served.port), flood).stdout.strip() == flood
    answer = served.ask()
    assert answer is not None
    assert answer.status == 200


# ---- beside a command ----

_PARENT = """
import os, subprocess, sys
from zerotrust_kerberos import settings
from zerotrust_kerberos.agent.beside import serve_beside
beside = serve_beside(settings.load({"role": "developer"}, os.environ))
print(beside.pid, beside.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"], flush=True)
if sys.argv[1] == "become":
    os.execvp("sleep", ["sleep", "1000"])
if sys.argv[1] == "close":
    beside.close()
if sys.argv[1] == "hush":
    os.close(1)
    os.close(2)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["stay", "become"])
def test_the_endpoint_beside_a_command_ends_with_it_however_that_ends(login: Environment, how: str) -> None:
    command = [sys.executable, "-c", _PARENT, how]
    environment = {**login, "PATH": os.environ["PATH"]}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        pid, file = parent.stdout.readline().split()
        assert Path(file).exists()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    eventually(lambda: not Path(file).parent.exists())
    eventually(lambda: not Path(f"/proc/{pid}").exists())


def test_the_endpoint_beside_a_command_can_be_closed(login: Environment) -> None:
    command = [sys.executable, "-c", _PARENT, "close"]
    done = subprocess.run(
        command, env=login, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60
    )
    _, file = done.stdout.split()
    assert not Path(file).parent.exists()


def test_the_endpoint_beside_a_command_holds_none_of_its_pipes(login: Environment) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, "hush"], env=login, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        # Ends, although the command and its endpoint live on.
        _, file = parent.stdout.read().split()
        assert parent.stderr.read() == ""
        assert Path(file).exists()
        parent.kill()


def test_an_endpoint_leaves_no_core_file(served: Served) -> None:
    limits = Path(f"/proc/{served.process.pid}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
