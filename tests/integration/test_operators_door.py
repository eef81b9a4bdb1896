"""The operators' door of a real broker: who gets in by which way, and that nobody else does."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker import wire, wire_operators
from tests.fakes.broker import BrokerError, BrokerProcess, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.dpop import Prover
from tests.fakes.operator import MARK, Answer, Operator, addresses, last, send
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.request_signer import RequestSigner

NO_STS = "http://127.0.0.1:1"
ROOT = "root/admin@EXAMPLE.COM"
CANCEL = wire_operators.CANCEL_PATH
RULE = {
    "name": "engineers",
    "principals": ["alice@EXAMPLE.COM", ROOT],
    "roles": ["developer"],
    "job_passes": "7d",
}
NOBODY = 65534
SHARED_KEY = RequestSigner.ed25519().public_pem


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short enough for sockets, and open, so that only the sockets' own modes decide."""
    made = Path(tempfile.mkdtemp(prefix="door-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("redis")) as server:
        yield server


def made(folder: Path, realm: Realm, *, name: str, **sections: Any) -> BrokerProcess:
    inner = folder / name
    inner.mkdir(mode=0o700)
    keytab = realm.keytab(inner / "http.keytab", "HTTP/localhost")
    return BrokerProcess(inner, configuration(inner, keytab=keytab, sts_endpoint=NO_STS, **sections), env=realm.env)


@pytest.fixture(scope="module")
def broker(folder: Path, realm: Realm, redis: RedisServer) -> Iterator[BrokerProcess]:
    shown = server_certificate(folder / "tls", "ecdsa-sha256")
    listen = ["http://127.0.0.1:0", "https://127.0.0.1:0", f"unix:{folder}/everybody"]
    started = made(
        folder,
        realm,
        name="broker",
        server={"listen": listen, "hostnames": ["localhost"]},
        tls={"certificate": str(shown.certificate), "private_key": str(shown.key)},
        redis={"url": redis.url, "password": redis.password},
        rules=[RULE],
        admin={"socket": f"{folder}/admin", "principals": [ROOT, "*/admin@EXAMPLE.COM"]},
    )
    with started:
        yield started


@pytest.fixture(scope="module")
def root(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "root/admin", tmp_path_factory.mktemp("root") / "ccache")


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "alice", tmp_path_factory.mktemp("alice") / "ccache")


@pytest.fixture(scope="module")
def mallory(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "mallory", tmp_path_factory.mktemp("mallory") / "ccache")


@pytest.fixture(scope="module")
def everybody_else(alice: Operator, mallory: Operator) -> list[Operator]:
    """Whom rules name, and whom none does."""
    return [alice, mallory]


@pytest.fixture(scope="module")
def ends(folder: Path, broker: BrokerProcess) -> dict[str, str | Path]:
    return {**addresses(broker), "socket": folder / "admin"}


# ---- who gets in ----


@pytest.mark.parametrize("way", ["http", "https", "socket"])
def test_an_operator_with_a_ticket_gets_in_by_every_way_and_leaves_a_record(
    broker: BrokerProcess, ends: dict[str, Any], root: Operator, way: str
) -> None:
    answer = root.ask(ends[way])
    assert answer.status == 200, answer.body
    assert (answer.json["principal"], answer.json["signed_by"]) == (ROOT, None)
    assert answer.headers["WWW-Authenticate"].startswith("Negotiate "), "the broker proves itself"
    record = last(broker)
    assert (record["event"], record["user"], record["action"]) == ("shown", ROOT, "operator_whoami")
    assert (record["via"], record.get("peer_uid")) == ("ticket", os.getuid() if way == "socket" else None)


FOR_OPERATORS = [
    ("GET", wire_operators.WHOAMI_PATH, b""),
    ("POST", CANCEL, wire_operators.pass_cancellation(user="alice@EXAMPLE.COM", identifier="0" * 32)),
    ("POST", CANCEL, b"no JSON"),
]


@pytest.mark.parametrize("way", ["http", "https", "socket"])
@pytest.mark.parametrize("request_", FOR_OPERATORS, ids=str)
def test_everybody_else_is_denied_in_the_same_words_and_recorded(
    broker: BrokerProcess, ends: dict[str, Any], everybody_else: list[Operator], way: str, request_: tuple[Any, ...]
) -> None:
    answers = []
    for somebody in everybody_else:
        answers.append(somebody.ask(ends[way], *request_))
        record = last(broker)
        assert (record["event"], record["reason"]) == ("refused", "no_operator")
        assert record["action"].startswith("operator_")
    answers.append(everybody_else[-1].ask(ends["http"]))
    assert {(answer.status, answer.code) for answer in answers} == {(403, "access_denied")}
    assert answers[0].less_its_id == answers[1].less_its_id == answers[2].less_its_id


def test_without_the_section_nobody_is_an_operator(tmp_path: Path, realm: Realm, root: Operator) -> None:
    with made(tmp_path, realm, name="none") as other:
        answer = root.ask(other.url)
        assert (answer.status, answer.code, last(other)["reason"]) == (403, "access_denied", "no_operator")


def test_an_account_of_this_host_is_nobody_without_a_ticket(broker: BrokerProcess, ends: dict[str, Any]) -> None:
    before = len(broker.records())
    answer = send(ends["socket"], "GET", wire_operators.WHOAMI_PATH, [("Host", "localhost"), MARK])
    assert (answer.status, answer.code) == (401, "auth_required")
    assert answer.headers["WWW-Authenticate"] == "Negotiate"
    assert len(broker.records()) == before


def test_no_session_cookie_or_job_pass_of_an_operator_opens_the_door(
    broker: BrokerProcess, ends: dict[str, Any], root: Operator
) -> None:
    url = str(ends["http"])
    host = ("Host", url.partition("//")[2])
    prover = Prover.es256()
    proof = ("DPoP", prover.proof("POST", f"{url}{wire.SESSIONS_PATH}"))
    session = send(url, "POST", wire.SESSIONS_PATH, [host, MARK, root.ticket(), proof]).json["access_token"]
    given = send(url, "POST", wire.SESSIONS_PATH, [host, MARK, root.ticket()]).headers["Set-Cookie"].partition(";")[0]
    wanted = b'{"role":"developer"}'
    length = [("Content-Length", str(len(wanted))), ("Content-Type", wire.JSON)]
    job_pass = send(url, "POST", wire.PASSES_PATH, [host, MARK, root.ticket(), *length], wanted).json["pass"]

    target = wire_operators.WHOAMI_PATH
    for headers, reason in (
        (
            [("Authorization", f"DPoP {session}"), ("DPoP", prover.proof("GET", f"{url}{target}", token=session))],
            "other_scheme",
        ),
        ([("Cookie", given)], "no_token"),
        ([("Cookie", given), ("Sec-Fetch-Site", "same-origin")], "no_token"),
        ([("Authorization", f"Bearer {job_pass}")], "pass_not_here"),
        ([("Authorization", job_pass)], "pass_not_here"),
    ):
        answer = send(url, "GET", target, [host, MARK, *headers])
        assert answer.status == 401, headers
        assert last(broker)["reason"] == reason


def test_an_operators_ticket_counts_once(ends: dict[str, Any], root: Operator) -> None:
    headers = [("Host", str(ends["http"]).partition("//")[2]), MARK, root.ticket()]
    assert [send(ends["http"], "GET", wire_operators.WHOAMI_PATH, headers).status for _ in range(2)] == [200, 401]


def test_a_stronger_ticket_can_be_asked_of_operators(
    tmp_path: Path, realm: Realm, root: Operator, mallory: Operator
) -> None:
    admin = {"principals": [ROOT], "require": {"indicators": ["pkinit"]}}
    with made(tmp_path, realm, name="strong", admin=admin) as strong:
        answer = root.ask(strong.url)
        assert (answer.status, answer.code, last(strong)["reason"]) == (403, "step_up_required", "ticket_too_weak")
        assert "pkinit" in answer.json["hint"]
        assert mallory.ask(strong.url).code == "access_denied", "only an operator hears of it"


def test_operators_work_on_while_the_kdc_is_down(tmp_path: Path) -> None:
    with Realm.start(tmp_path / "realm", principals={"root/admin": "operator"}) as own, own.entered():
        operator = Operator(own, "root/admin", tmp_path / "ccache")
        with made(tmp_path, own, name="alone", admin={"principals": [ROOT], "socket": f"{tmp_path}/s"}) as alone:
            assert operator.admin("whoami", "--socket", f"{tmp_path}/s", ZEROTRUST_HOST="localhost").returncode == 0
            own.stop()
            done = operator.admin("whoami", "--socket", f"{tmp_path}/s", ZEROTRUST_HOST="localhost")
            assert (done.returncode, ROOT in done.stdout) == (0, True), done.stderr
            assert last(alone)["user"] == ROOT


# ---- other pages ----


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(wire.REQUEST_HEADER, "0")],
        [MARK, ("Sec-Fetch-Site", "cross-site")],
        [MARK, ("Sec-Fetch-Site", "same-site")],
        [MARK, ("Origin", "https://evil.example")],
        [MARK, ("Origin", "null")],
    ],
    ids=str,
)
@pytest.mark.parametrize(("method", "path"), [("GET", wire_operators.WHOAMI_PATH), ("POST", CANCEL)])
def test_no_page_asks_in_an_operators_name_and_none_sees_a_challenge(
    broker: BrokerProcess, ends: dict[str, Any], headers: list[tuple[str, str]], method: str, path: str
) -> None:
    before = len(broker.records())
    answer = send(ends["http"], method, path, [("Host", "localhost"), *headers])
    assert (answer.status, answer.code) == (403, "cross_site_blocked")
    assert "WWW-Authenticate" not in answer.headers
    assert len(broker.records()) == before


# ---- the local socket ----


def as_nobody(path: Path) -> int:
    """The errno with which another account fails to connect, or 0."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with socket.socket(socket.AF_UNIX) as connection:
                code = connection.connect_ex(str(path))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_the_operators_socket_is_for_root_and_the_brokers_group(folder: Path, ends: dict[str, Any]) -> None:
    status = (folder / "admin").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o660, os.geteuid(), os.getegid())
    assert stat.S_IMODE((folder / "everybody").stat().st_mode) == 0o666
    if os.geteuid() == 0:
        assert as_nobody(folder / "everybody") == 0
        assert os.strerror(as_nobody(folder / "admin")) == "Permission denied"


@pytest.mark.parametrize("what", ["a file", "a symbolic link", "a socket somebody listens on"])
def test_what_lies_at_the_operators_socket_is_left_alone_and_named(tmp_path: Path, realm: Realm, what: str) -> None:
    path, target = tmp_path / "s", tmp_path / "target"
    with socket.socket(socket.AF_UNIX) as other:
        if what == "a file":
            path.write_text("mine")
        else:
            other.bind(str(target if what == "a symbolic link" else path))
            other.listen()
        if what == "a symbolic link":
            path.symlink_to(target)
        refused = pytest.raises(BrokerError, match=rf"cannot serve: {re.escape(str(path))}")
        with refused, made(tmp_path, realm, name="b", admin={"socket": str(path), "principals": [ROOT]}):
            pass


def test_the_socket_of_a_killed_broker_is_taken_over_with_its_mode(
    tmp_path: Path, realm: Realm, root: Operator
) -> None:
    path = tmp_path / "s"
    with made(tmp_path, realm, name="b", admin={"socket": str(path), "principals": [ROOT]}) as killed:
        killed.kill()
        assert path.is_socket()
        path.chmod(0o666)
        killed.start()
        assert root.ask(path).status == 200
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


# ---- what operators do: somebody's job pass ----


@pytest.fixture
def job_pass(ends: dict[str, Any], alice: Operator) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        answer = alice.ask(ends["http"], "POST", wire.PASSES_PATH, b'{"role":"developer"}')
        assert answer.status == 200, answer.body
        return answer.json

    return make


def held(url: Any, job_pass: dict[str, Any]) -> Answer:
    """Whether it still counts: giving it back works once."""
    host = str(url).partition("//")[2]
    headers = [("Host", host), MARK, ("Authorization", job_pass["pass"])]
    return send(url, "DELETE", f"{wire.PASSES_PATH}/current", headers)


def test_an_operator_cancels_somebodys_job_pass_and_the_record_says_whose(
    broker: BrokerProcess, ends: dict[str, Any], root: Operator, job_pass: Callable[[], dict[str, Any]]
) -> None:
    given = job_pass()
    done = root.admin("cancel-pass", "--url", str(ends["http"]), "--user", "alice@EXAMPLE.COM", given["id"])
    assert done.returncode == 0, done.stderr
    record = last(broker)
    assert (record["event"], record["user"], record["about"]) == ("pass_cancelled", ROOT, "alice@EXAMPLE.COM")
    assert record["pass_id"] == given["id"]
    assert held(ends["http"], given).status == 401


@pytest.mark.parametrize("user", ["mallory@EXAMPLE.COM", "alice@PARTNER.EXAMPLE", "alice/admin@EXAMPLE.COM"])
def test_a_pass_is_cancelled_under_its_owners_name_only(
    broker: BrokerProcess, ends: dict[str, Any], root: Operator, job_pass: Callable[[], dict[str, Any]], user: str
) -> None:
    given = job_pass()
    body = wire_operators.pass_cancellation(user=user, identifier=given["id"])
    assert root.ask(ends["http"], "POST", CANCEL, body).status == 404
    assert (last(broker)["reason"], last(broker)["about"]) == ("pass_unknown", user)
    assert held(ends["http"], given).status == 204


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"user":"alice@EXAMPLE.COM"}',
        b'{"user":"alice@EXAMPLE.COM","id":"x"}',
        b'{"user":1,"id":"' + b"0" * 32 + b'"}',
        b'{"user":"alice","id":"' + b"0" * 32 + b'"}',
        b'{"user":"alice@","id":"' + b"0" * 32 + b'"}',
        b'{"user":"\\u00e4@EXAMPLE.COM","id":"' + b"0" * 32 + b'"}',
        b'{"user":"a@B","id":"' + b"0" * 32 + b'","more":1}',
        b'{"user":"a@B","user":"a@C","id":"' + b"0" * 32 + b'"}',
    ],
)
def test_what_cannot_be_understood_is_a_recorded_attempt_too(
    broker: BrokerProcess, ends: dict[str, Any], root: Operator, body: bytes
) -> None:
    answer = root.ask(ends["http"], "POST", CANCEL, body)
    assert (answer.status, answer.code) == (400, "bad_request")
    record = last(broker)
    assert (record["user"], record["reason"].removesuffix("_malformed")) in {(ROOT, "body"), (ROOT, "user")}


@pytest.mark.parametrize(
    ("admin", "problem"),
    [
        (
            {"signing_keys": [{"principal": ROOT, "public_key": "no key"}]},
            "admin.signing_keys[0].public_key: is not a public key in PEM",
        ),
        (
            {
                "signing_keys": [
                    {"principal": who, "public_key": SHARED_KEY} for who in (ROOT, "carol/admin@EXAMPLE.COM")
                ]
            },
            "admin.signing_keys[1].public_key: is registered twice",
        ),
        ({"socket": "/run/one.sock"}, "admin.socket: is in server.listen too"),
    ],
    ids=["no key", "a shared key", "a shared socket"],
)
def test_a_door_that_could_not_be_held_does_not_open(
    tmp_path: Path, realm: Realm, admin: dict[str, Any], problem: str
) -> None:
    server = {"listen": ["unix:/run/one.sock"], "hostnames": ["localhost"]}
    section = {"principals": [ROOT, "carol/admin@EXAMPLE.COM"], **admin}
    checked = made(tmp_path, realm, name="b", server=server, admin=section).check_config()
    assert (checked.returncode, checked.stdout) == (78, "")
    assert checked.stderr.startswith(f"{problem} — fix: ")
    assert len(checked.stderr.splitlines()) == 1


def test_what_operators_did_can_be_verified(broker: BrokerProcess, ends: dict[str, Any], root: Operator) -> None:
    assert root.ask(ends["http"]).status == 200
    done = broker.admin("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "good: " in done.stdout
