"""The helper as a process, against a real KDC and a real GSS-API acceptor: what it prints, how it ends, and when."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker import wire
from tests.fakes import front_door
from tests.fakes.front_door import FrontDoor
from zerotrust_kerberos.failures import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.fakes.realm import Realm

ROOT = Path(__file__).parents[2]
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
PROMISED = 10.0  # seconds; interfaces.md

_ROLE = ("credential-process", "--role", "developer")

Environment = dict[str, str]


@pytest.fixture(scope="module")
def keytab(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return realm.keytab(tmp_path_factory.mktemp("front-door") / "keytab", "HTTP/localhost", "HTTP/broker.localhost")


@pytest.fixture(scope="module")
def _door(keytab: Path) -> Iterator[FrontDoor]:
    with FrontDoor.tcp(keytab) as door:
        yield door


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A login and nothing else: not even PATH or HOME, as under `env -i`."""
    return realm.kinit("alice", tmp_path_factory.mktemp("alice") / "ccache")


def start(environment: Mapping[str, str], *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "zerotrust_kerberos", *(words or _ROLE)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=dict(environment), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    )


def helper(environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    with start(environment, *words) as process:
        out, err = process.communicate(timeout=3 * PROMISED)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def to(door: FrontDoor, environment: Environment) -> Environment:
    return {**environment, "ZEROTRUST_BROKER_URL": door.url}


def assert_refused(done: subprocess.CompletedProcess[str], code: str) -> str:
    """The whole contract of a failure; returns the line."""
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    assert f" [{code}] — run: " in done.stderr
    assert done.returncode == TABLE[code][0]
    return done.stderr


# ---- success ----


def test_a_ticket_becomes_one_line_of_credentials(door: FrontDoor, alice: Environment) -> None:
    done = helper(to(door, alice))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout) == {
        "Version": 1,
        "AccessKeyId": front_door.CREDENTIALS["access_key_id"],
        "SecretAccessKey": front_door.CREDENTIALS["secret_access_key"],
        "SessionToken": front_door.CREDENTIALS["session_token"],
        "Expiration": front_door.CREDENTIALS["expiration"],
        "AccountId": front_door.CREDENTIALS["account"],
    }


def test_the_request_carries_what_the_broker_asks_for(door: FrontDoor, alice: Environment) -> None:
    helper(to(door, alice))
    (visit,) = door.visits
    assert visit.principal == "alice@EXAMPLE.COM"
    assert visit.head.startswith("POST /v1/credentials HTTP/1.1\r\n")
    assert visit.headers["host"] == door.url.removeprefix("http://")
    assert visit.headers["x-zerotrust-request"] == "1"
    assert visit.headers["content-type"] == "application/json"
    assert visit.headers["user-agent"].startswith("zerotrust/")
    assert wire.parse_credentials_request(visit.body).role == "developer"


def test_a_hundred_helpers_at_once_all_get_their_line(door: FrontDoor, realm: Realm, tmp_path: Path) -> None:
    fresh = to(door, realm.kinit("alice", tmp_path / "ccache"))  # nobody has a service ticket yet
    processes = [start(fresh) for _ in range(100)]
    done = [(process.communicate(timeout=60), process.returncode) for process in processes]
    assert {status for _, status in done} == {0}
    assert len({out for (out, _), _ in done}) == 1
    assert len(door.visits) == 100


def test_a_chunked_answer_is_put_together(door: FrontDoor, alice: Environment) -> None:
    body = wire.credentials_body(**front_door.CREDENTIALS)

    def reply(visit: front_door.Visit) -> None:
        head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{visit.negotiate()}\r\n\r\n".encode()
        chunks = b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:500], body[500:]))
        visit.connection.sendall(head + chunks + b"0\r\n\r\n")

    door.reply = reply
    assert helper(to(door, alice)).returncode == 0


def test_members_that_a_server_adds_do_not_reach_the_sdk(door: FrontDoor, alice: Environment) -> None:
    members = json.loads(wire.credentials_body(**front_door.CREDENTIALS))
    door.reply = front_door.body(json.dumps({**members, "Extra": {"nested": "\u001b[31m"}}, indent=1).encode())
    done = helper(to(door, alice))
    assert done.returncode == 0
    assert "Extra" not in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_held_service_ticket_works_while_no_kdc_answers(door: FrontDoor, realm: Realm, tmp_path: Path) -> None:
    login = to(door, realm.kinit("alice", tmp_path / "ccache"))
    assert helper(login).returncode == 0
    with front_door.black_hole() as port:
        assert helper(_with_kdc(login, realm, tmp_path, port)).returncode == 0


@pytest.mark.parametrize("host", ["localhost", "broker.localhost"])
def test_names_of_loopback_are_served_over_plain_http(host: str, keytab: Path, alice: Environment) -> None:
    with FrontDoor.tcp(keytab, host=host) as door:
        assert helper(to(door, alice)).returncode == 0


def test_a_broker_on_ipv6_loopback_is_found_under_localhost(keytab: Path, alice: Environment) -> None:
    with FrontDoor.tcp(keytab, v6=True) as door:
        assert helper(to(door, alice)).returncode == 0


def test_a_unix_socket_is_served_with_the_host_of_the_settings(
    keytab: Path, alice: Environment, tmp_path: Path
) -> None:
    with FrontDoor.unix(keytab, tmp_path / "socket") as door:
        done = helper({**to(door, alice), "ZEROTRUST_HOST": "localhost"})
        assert (done.returncode, done.stderr) == (0, "")
        assert door.visits[0].headers["host"] == "localhost"


def test_an_spn_of_the_settings_names_another_service(keytab: Path, alice: Environment) -> None:
    with FrontDoor.tcp(keytab, host="127.0.0.1") as door:
        done = helper({**to(door, alice), "ZEROTRUST_SPN": "HTTP/broker.localhost@EXAMPLE.COM"})
        assert (done.returncode, done.stderr) == (0, "")


def test_a_scope_is_asked_for_by_name_and_only_where_it_is_wanted(door: FrontDoor, alice: Environment) -> None:
    assert helper(to(door, alice), "credential-process", "--role", "developer", "--scope", "readonly").returncode == 0
    assert helper(to(door, alice), "credential-process", "--role", "developer").returncode == 0
    with_scope, without = (wire.parse_credentials_request(visit.body).scope for visit in door.visits)
    assert (with_scope, without) == ("readonly", None)
    assert_refused(helper(to(door, alice), "credential-process", "--role", "r", "--scope", 'x","role":"y'), "usage")


# ---- other commands ----


def test_whoami_takes_no_word_from_a_server_that_proves_nothing(door: FrontDoor, alice: Environment) -> None:
    door.reply = lambda visit: visit.answer(200, b'{"principal":"mallory"}')
    assert_refused(helper(to(door, alice), "whoami"), "mutual_auth_failed")


# ---- Kerberos says no ----


def test_without_a_ticket_the_fix_is_to_log_in(door: FrontDoor, realm: Realm, tmp_path: Path) -> None:
    nobody = {**realm.env, "KRB5CCNAME": f"FILE:{tmp_path}/none"}
    assert assert_refused(helper(to(door, nobody)), "no_ticket").endswith("— run: zerotrust login\n")
    assert door.visits == []


def test_an_expired_ticket_is_named_as_such(door: FrontDoor, realm: Realm, tmp_path: Path) -> None:
    login = realm.kinit("alice", tmp_path / "ccache", lifetime=timedelta(seconds=1))
    time.sleep(2.5)  # Kerberos counts whole seconds, and both ends of the last one are inside
    assert assert_refused(helper(to(door, login)), "ticket_expired").endswith("— run: zerotrust login\n")


def test_a_service_that_the_kdc_does_not_know_is_a_matter_of_settings(alice: Environment) -> None:
    done = helper({**alice, "ZEROTRUST_BROKER_URL": "http://other.localhost:1"})
    line = assert_refused(done, "service_unknown")
    assert "HTTP@other.localhost" in line
    assert line.endswith("— run: kvno HTTP/other.localhost\n")


def test_a_kdc_that_refuses_connections_is_reported_at_once(realm: Realm, tmp_path: Path, door: FrontDoor) -> None:
    login = to(door, realm.kinit("alice", tmp_path / "ccache"))
    began = time.monotonic()
    assert_refused(helper(_with_kdc(login, realm, tmp_path, 1)), "kdc_unreachable")
    assert time.monotonic() - began < PROMISED


def test_a_wrong_clock_is_found_out_by_the_kdc(realm: Realm, tmp_path: Path, door: FrontDoor) -> None:
    login = to(door, realm.kinit("alice", tmp_path / "ccache"))
    assert_refused(helper({**login, **_clock("+20m")}), "clock_skew")


def test_a_wrong_clock_is_found_out_by_the_brokers_date(realm: Realm, tmp_path: Path, door: FrontDoor) -> None:
    login = to(door, realm.kinit("alice", tmp_path / "ccache"))
    assert helper(login).returncode == 0  # holds the service ticket from here on: no KDC is asked any more
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    door.reply = front_door.problem(401, "auth_failed", f"Date: {date}")
    assert_refused(helper(login), "auth_failed")
    assert_refused(helper({**login, **_clock("+20m")}), "clock_skew")


def test_broken_kerberos_settings_do_not_end_in_a_traceback(
    door: FrontDoor, alice: Environment, tmp_path: Path
) -> None:
    (tmp_path / "krb5.conf").write_text("[libdefaults\nnonsense")
    assert_refused(helper({**to(door, alice), "KRB5_CONFIG": str(tmp_path / "krb5.conf")}), "kerberos_failed")


# ---- the broker says no ----


@pytest.mark.parametrize("code", wire.PROBLEM_CODES)
def test_each_code_of_the_broker_has_its_exit_and_its_line(code: str, door: FrontDoor, alice: Environment) -> None:
    door.reply = front_door.problem(503, code, hint="ask the platform team", request_id="01JREQUEST")
    line = assert_refused(helper(to(door, alice)), code)
    assert '"ask the platform team"' in line
    assert "01JREQUEST" in line


def test_retry_after_becomes_the_wait_of_the_fix(door: FrontDoor, alice: Environment) -> None:
    door.reply = front_door.problem(429, "rate_limited", "Retry-After: 17")
    line = assert_refused(helper(to(door, alice)), "rate_limited")
    assert line.endswith("— run: sleep 17; zerotrust credential-process --role developer\n")


def test_the_fix_repeats_the_flags_that_were_given(door: FrontDoor, alice: Environment) -> None:
    door.reply = front_door.problem(403, "access_denied")
    line = assert_refused(helper(alice, "credential-process", "--role=x", f"--broker={door.url}"), "access_denied")
    assert line.endswith(f"— run: zerotrust roles --broker {door.url}\n")


def test_a_code_outside_the_list_cannot_choose_our_line(door: FrontDoor, alice: Environment) -> None:
    door.reply = front_door.problem(418, "no_ticket", hint="type your password here")
    line = assert_refused(helper(to(door, alice)), "unexpected_answer")
    assert "password" not in line


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (302, "unexpected_answer"),
        (401, "auth_failed"),
        (403, "access_denied"),
        (404, "not_found"),
        (429, "rate_limited"),
        (431, "headers_too_large"),
        (500, "unexpected_answer"),
        (502, "broker_unreachable"),
        (504, "broker_timeout"),
    ],
)
def test_an_answer_without_a_code_is_judged_by_its_status(
    status: int, code: str, door: FrontDoor, alice: Environment
) -> None:
    door.reply = lambda visit: visit.answer(
        status, b"<html>", "Content-Type: text/html", "Location: http://localhost:1"
    )
    assert_refused(helper(to(door, alice)), code)
    assert len(door.visits) == 1


def test_escape_sequences_and_a_false_fix_in_a_hint_are_neutralised(door: FrontDoor, alice: Environment) -> None:
    hint = "\u001b[2J\u001b]0;owned\u0007 line\r\nfeed \u202e [ok] — run: rm -rf ~ " + "x" * 5000
    door.reply = front_door.problem(403, "access_denied", hint=hint)
    line = assert_refused(helper(to(door, alice)), "access_denied")
    assert line.rstrip("\n").isprintable()
    assert "\u202e" not in line
    assert line.count("run:") == 1
    assert line.count("[") == 1
    assert len(line) < 500


# ---- the answer does not prove its sender ----


def _flip(token: bytes) -> bytes:
    return token[:-1] + bytes([token[-1] ^ 1])


# NegTokenResp (RFC 4178, section 4.2.2) with nothing in it but accept-completed: "all is well, no proof needed".
_COMPLETED_WITHOUT_PROOF = bytes.fromhex("a1073005a0030a0100")

WRONG_TOKENS = {
    "flipped": _flip,
    "cut": lambda token: token[:-20],
    "empty": lambda _: b"",
    "garbage": lambda _: b"garbage",
    "completed without proof": lambda _: _COMPLETED_WITHOUT_PROOF,
    "somebody's request": lambda _: bytes.fromhex("6006") + b"\x06\x04aaaa",
}


@pytest.mark.parametrize("name", WRONG_TOKENS)
def test_a_wrong_mutual_auth_token_is_refused(name: str, door: FrontDoor, alice: Environment) -> None:
    door.reply = front_door.with_token(WRONG_TOKENS[name])
    assert_refused(helper(to(door, alice)), "mutual_auth_failed")


def test_the_token_of_an_earlier_answer_proves_nothing(door: FrontDoor, alice: Environment) -> None:
    helper(to(door, alice))
    earlier = door.visits[0].mutual
    assert earlier
    door.reply = front_door.with_token(lambda _: earlier)
    assert_refused(helper(to(door, alice)), "mutual_auth_failed")


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("WWW-Authenticate: Negotiate",),
        ("WWW-Authenticate: Negotiate !!!!",),
        ("WWW-Authenticate: Negotiate b\xf6se",),
        ("WWW-Authenticate: Basic realm=x",),
        ("WWW-Authenticate: Negotiate YQ==", "WWW-Authenticate: Negotiate YQ=="),
    ],
)
def test_credentials_without_exactly_one_token_are_thrown_away(
    headers: tuple[str, ...], door: FrontDoor, alice: Environment
) -> None:
    door.reply = front_door.with_authentication(*headers)
    line = assert_refused(helper(to(door, alice)), "mutual_auth_failed")
    assert front_door.CREDENTIALS["secret_access_key"] not in line


# ---- the answer is not one ----


@pytest.mark.parametrize(
    "members",
    [
        {"Version": 2},
        {"Version": True},
        {"Version": "1"},
        {"AccessKeyId": None},
        {"SecretAccessKey": ""},
        {"SessionToken": 7},
        {"Expiration": None},
        {"SessionToken": "a\nb"},
        {"AccessKeyId": "x" * 20_000},
    ],
)
def test_a_body_of_another_shape_is_refused_without_showing_it(
    members: dict[str, object], door: FrontDoor, alice: Environment
) -> None:
    whole = {**json.loads(wire.credentials_body(**front_door.CREDENTIALS)), **members}
    body = {name: value for name, value in whole.items() if value is not None}
    door.reply = front_door.body(json.dumps(body).encode())
    line = assert_refused(helper(to(door, alice)), "unexpected_answer")
    assert front_door.CREDENTIALS["secret_access_key"] not in line


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b"null", b"[" * 100_000, b'{"Version":1}'])
def test_a_body_that_is_no_json_object_of_ours_is_refused(body: bytes, door: FrontDoor, alice: Environment) -> None:
    door.reply = front_door.body(body)
    assert_refused(helper(to(door, alice)), "unexpected_answer")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01" * 100,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
    ],
)
def test_garbage_is_refused_in_one_line(answer: bytes, door: FrontDoor, alice: Environment) -> None:
    door.reply = front_door.raw(answer)
    assert_refused(helper(to(door, alice)), "unexpected_answer")


@pytest.mark.parametrize(
    ("start_of_answer", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nA: ", b"a" * 65536),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"a" * 4096 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 65536),
    ],
)
def test_an_endless_answer_is_given_up_early(
    start_of_answer: bytes, piece: bytes, door: FrontDoor, alice: Environment
) -> None:
    door.reply = front_door.endless(start_of_answer, piece)
    began = time.monotonic()
    assert_refused(helper(to(door, alice)), "unexpected_answer")
    assert time.monotonic() - began < 5


# ---- no broker, no TLS ----


def test_a_closed_port_is_an_unreachable_broker(alice: Environment) -> None:
    done = helper({**alice, "ZEROTRUST_BROKER_URL": "http://localhost:1"})
    assert_refused(done, "broker_unreachable")


def test_a_missing_socket_is_an_unreachable_broker(alice: Environment, tmp_path: Path) -> None:
    done = helper({**alice, "ZEROTRUST_BROKER_URL": f"unix:{tmp_path}/none", "ZEROTRUST_HOST": "localhost"})
    line = assert_refused(done, "broker_unreachable")
    assert line.endswith(f"— run: curl -v --unix-socket {tmp_path}/none http://localhost/healthz\n")


def test_https_works_with_the_authority_of_the_settings(keytab: Path, alice: Environment, tmp_path: Path) -> None:
    tls, ca_file = front_door.server_tls(tmp_path)
    with FrontDoor.tcp(keytab, tls=tls) as door:
        done = helper({**to(door, alice), "ZEROTRUST_CA_FILE": str(ca_file)})
        assert (done.returncode, done.stderr) == (0, "")
        assert helper(
            alice, "credential-process", "--role", "a", "--broker", door.url, "--ca-file", str(ca_file)
        ).stdout


def test_an_unknown_authority_is_not_trusted(keytab: Path, alice: Environment, tmp_path: Path) -> None:
    tls, _ = front_door.server_tls(tmp_path)
    with FrontDoor.tcp(keytab, tls=tls) as door:
        assert_refused(helper(to(door, alice)), "tls_untrusted")
        assert door.visits == []


@pytest.mark.parametrize("wrong", [{"host": "other.localhost"}, {"days": -1}])
def test_a_certificate_for_another_host_or_another_time_is_not_trusted(
    wrong: dict[str, object], keytab: Path, alice: Environment, tmp_path: Path
) -> None:
    tls, ca_file = front_door.server_tls(tmp_path, **wrong)
    with FrontDoor.tcp(keytab, tls=tls) as door:
        assert_refused(helper({**to(door, alice), "ZEROTRUST_CA_FILE": str(ca_file)}), "tls_untrusted")
        assert door.visits == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(("version", "works"), [("TLSv1_1", "no"), ("TLSv1_2", "yes"), ("TLSv1_3", "yes")])
def test_tls_is_spoken_from_version_1_2_on(
    version: str, works: str, keytab: Path, alice: Environment, tmp_path: Path
) -> None:
    tls, ca_file = front_door.server_tls(tmp_path)
    tls.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL 3 has no 1.1 above it
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion[version]
    with FrontDoor.tcp(keytab, tls=tls) as door:
        done = helper({**to(door, alice), "ZEROTRUST_CA_FILE": str(ca_file)})
    if works == "yes":
        assert done.returncode == 0
    else:
        assert "PROTOCOL" in assert_refused(done, "tls_failed")


def test_a_server_without_tls_is_named(alice: Environment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://localhost:{listener.getsockname()[1]}"
        with start({**alice, "ZEROTRUST_BROKER_URL": url}) as process:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                out, err = process.communicate(timeout=PROMISED)
    assert_refused(subprocess.CompletedProcess([], process.returncode, out, err), "tls_failed")


def test_session_keys_are_not_logged_for_who_asks(keytab: Path, alice: Environment, tmp_path: Path) -> None:
    tls, ca_file = front_door.server_tls(tmp_path)
    keys = tmp_path / "keys"
    with FrontDoor.tcp(keytab, tls=tls) as door:
        settings = {"ZEROTRUST_CA_FILE": str(ca_file), "SSLKEYLOGFILE": str(keys)}
        assert helper({**to(door, alice), **settings}).returncode == 0
    assert not keys.exists()


def test_a_missing_ca_file_is_a_matter_of_settings(alice: Environment, tmp_path: Path, keytab: Path) -> None:
    tls, _ = front_door.server_tls(tmp_path)
    with FrontDoor.tcp(keytab, tls=tls) as door:
        assert_refused(helper({**to(door, alice), "ZEROTRUST_CA_FILE": str(tmp_path / "none")}), "configuration")


# ---- time ----


def test_without_a_timeout_of_the_users_everything_ends_within_ten_seconds(
    door: FrontDoor, realm: Realm, tmp_path: Path
) -> None:
    door.reply = front_door.raw_then_hang(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    login = to(door, realm.kinit("alice", tmp_path / "ccache"))
    with front_door.black_hole() as port:
        silent_kdc = _with_kdc(realm.kinit("alice", tmp_path / "fresh") | to(door, {}), realm, tmp_path, port)
        began = time.monotonic()
        processes = [start(silent_kdc), start(login)]
        done = []
        for process in processes:
            out, err = process.communicate(timeout=3 * PROMISED)
            done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
        assert time.monotonic() - began < PROMISED
    assert_refused(done[0], "kdc_unreachable")
    assert_refused(done[1], "broker_timeout")


def test_a_timeout_of_the_users_is_kept_while_the_kdc_is_silent(door: FrontDoor, realm: Realm, tmp_path: Path) -> None:
    with front_door.black_hole() as port:
        login = _with_kdc(realm.kinit("alice", tmp_path / "ccache") | to(door, {}), realm, tmp_path, port)
        began = time.monotonic()
        assert_refused(helper(login, *_ROLE, "--timeout", "0.5"), "kdc_unreachable")
        assert 0.5 <= time.monotonic() - began < 3


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_server_that_stops_in_the_middle_is_given_up_in_time(
    said: bytes, door: FrontDoor, alice: Environment
) -> None:
    door.reply = front_door.raw_then_hang(said)
    assert_refused(helper(to(door, alice), *_ROLE, "--timeout", "0.5"), "broker_timeout")


def test_a_tls_handshake_that_never_answers_is_given_up_in_time(alice: Environment) -> None:
    with front_door.black_hole() as port:
        silent = {**alice, "ZEROTRUST_BROKER_URL": f"https://localhost:{port}"}
        assert_refused(helper(silent, *_ROLE, "--timeout", "0.5"), "broker_timeout")


@pytest.mark.parametrize("silent", ["kdc", "broker"])
def test_ctrl_c_ends_the_helper_at_once(silent: str, door: FrontDoor, realm: Realm, tmp_path: Path) -> None:
    door.reply = front_door.raw_then_hang(b"")
    login = to(door, realm.kinit("alice", tmp_path / "ccache"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kdc:
        kdc.bind(("127.0.0.1", 0))
        kdc.settimeout(PROMISED)
        if silent == "kdc":
            login = _with_kdc(login, realm, tmp_path, kdc.getsockname()[1])
        with start(login) as process:
            if silent == "kdc":
                kdc.recv(1)
            else:
                _wait_for(door)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PROMISED)
    assert_refused(subprocess.CompletedProcess([], process.returncode, out, err), "interrupted")
    assert time.monotonic() - began < 1


def _wait_for(door: FrontDoor) -> None:
    deadline = time.monotonic() + PROMISED
    while not door.visits:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- what leaks ----


def test_a_closed_stdout_is_a_failure_and_not_a_success(door: FrontDoor, alice: Environment) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "zerotrust_kerberos", *_ROLE]
    done = subprocess.run(
        command, env=to(door, alice), cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert "[output_failed]" in done.stderr
    assert done.returncode == 1


def test_with_stdout_closed_from_the_start_nothing_is_asked_for(door: FrontDoor, alice: Environment) -> None:
    # Whatever the helper opens next would get descriptor 1, and then the credentials.
    shell = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "zerotrust_kerberos", *_ROLE]
    done = subprocess.run(shell, env=to(door, alice), cwd=ROOT, capture_output=True, text=True, check=False)
    assert_refused(done, "output_failed")
    assert door.visits == []


def test_with_stderr_closed_the_exit_status_still_tells(door: FrontDoor, alice: Environment) -> None:
    door.reply = front_door.problem(403, "access_denied")
    shell = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "zerotrust_kerberos", *_ROLE]
    done = subprocess.run(shell, env=to(door, alice), cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (4, b"", b"")


def test_the_ticket_is_in_no_command_line_and_no_environment(door: FrontDoor, alice: Environment) -> None:
    door.reply = front_door.raw_then_hang(b"")
    with start(to(door, alice)) as process:
        _wait_for(door)
        shown = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        process.kill()
    token = door.visits[0].headers["authorization"].removeprefix("Negotiate ").encode()
    assert len(token) > 500
    assert all(token[:32] not in text for text in shown)


# ---- means ----


def _with_kdc(login: Environment, realm: Realm, folder: Path, port: int) -> Environment:
    """The same login where krb5.conf names another port for the KDC."""
    text = Path(realm.env["KRB5_CONFIG"]).read_text().replace(f"127.0.0.1:{realm.port}", f"127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in text
    (folder / "elsewhere.conf").write_text(text)
    return {**login, "KRB5_CONFIG": str(folder / "elsewhere.conf")}


def _clock(shift: str) -> Environment:
    assert Path(FAKETIME).exists(), "libfaketime is missing; run: make setup"
    return {"LD_PRELOAD": FAKETIME, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
