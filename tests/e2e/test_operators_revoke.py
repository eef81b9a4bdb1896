"""What operators take and give back with the installed `zerotrust-admin`, seen by users at another instance of the fleet."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from broker import wire, wire_operators
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.operator import MARK, Answer, Operator, last, send
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.request_signer import RequestSigner
from tests.fakes.sts.demo import demo_world
from tests.fakes.sts.process import StrictSts

ROOT, ALICE = "root/admin@EXAMPLE.COM", "alice@EXAMPLE.COM"
KEY = RequestSigner.ed25519()
DEVELOPER = b'{"role":"developer"}'
RULE = {"name": "engineers", "principals": [ALICE], "roles": ["developer", "readonly"], "job_passes": "1d"}


@pytest.fixture(scope="module")
def fleet(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerProcess, BrokerProcess]]:
    folder = tmp_path_factory.mktemp("f")
    keytab = realm.keytab(folder / "http.keytab", "HTTP/localhost")

    def instance(name: str, server: RedisServer, sts: StrictSts) -> BrokerProcess:
        inner = folder / name
        inner.mkdir()
        settings = configuration(
            folder,
            keytab=keytab,
            sts_endpoint=sts.url,
            audit={"directory": str(inner / "audit")},
            state={"directory": str(inner / "state")},
            redis={"url": server.url, "password": server.password},
            rules=[RULE],
            admin={
                "socket": str(inner / "s"),
                "principals": [ROOT],
                "require_signed_requests": True,
                "signing_keys": [{"principal": ROOT, "public_key": KEY.public_pem}],
            },
        )
        (inner / "state").mkdir(mode=0o700)
        return BrokerProcess(inner, settings, env=realm.env)

    with RedisServer.start(folder / "redis") as server, StrictSts(demo_world()) as sts:
        one, two = instance("one", server, sts), instance("two", server, sts)
        with one, two:
            yield one, two


@pytest.fixture(scope="module")
def here(fleet: tuple[BrokerProcess, BrokerProcess]) -> BrokerProcess:
    return fleet[0]


@pytest.fixture(scope="module")
def there(fleet: tuple[BrokerProcess, BrokerProcess]) -> BrokerProcess:
    return fleet[1]


@pytest.fixture(scope="module")
def root(realm: Realm, tmp_path_factory: pytest.TempPathFactory, here: BrokerProcess) -> Operator:
    folder = tmp_path_factory.mktemp("root")
    key = folder / "key.pem"
    key.touch(mode=0o600)
    key.write_text(KEY.private_pem)
    operator = Operator(realm, "root/admin", folder / "ccache")
    operator.env |= {
        "ZEROTRUST_ADMIN_SIGNING_KEY": str(key),
        "ZEROTRUST_ADMIN_SOCKET": str(here.folder / "s"),
        "ZEROTRUST_HOST": "localhost",
    }
    return operator


@pytest.fixture(scope="module")
def alice(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "alice", tmp_path_factory.mktemp("alice") / "ccache")


def session(broker: BrokerProcess, alice: Operator) -> str:
    """A browser's cookie."""
    host = ("Host", broker.url.partition("//")[2])
    answer = send(broker.url, "POST", wire.SESSIONS_PATH, [host, MARK, alice.ticket()])
    assert answer.status == 204, answer.body
    return answer.headers["Set-Cookie"].partition(";")[0]


def by_cookie(broker: BrokerProcess, cookie: str) -> int:
    host = ("Host", broker.url.partition("//")[2])
    return send(broker.url, "GET", wire.WHOAMI_PATH, [host, MARK, ("Cookie", cookie)]).status


def credentials(broker: BrokerProcess, alice: Operator, role: str = "developer") -> Answer:
    return alice.ask(broker.url, "POST", wire.CREDENTIALS_PATH, json.dumps({"role": role}).encode())


def done(root: Operator, *words: str) -> str:
    """What a command that must succeed prints."""
    result = root.admin(*words)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


def test_ended_sessions_are_dead_at_every_instance_and_a_new_ticket_works_at_once(
    here: BrokerProcess, there: BrokerProcess, root: Operator, alice: Operator
) -> None:
    cookie = session(there, alice)
    assert by_cookie(there, cookie) == 200
    assert "would be stopped: sessions" in done(root, "revoke-sessions", "--user", ALICE, "--dry-run")
    assert by_cookie(there, cookie) == 200
    said = done(root, "revoke-sessions", "--user", ALICE)
    assert said.startswith(f"{ALICE}: stopped: sessions, job passes")
    # The command has waited until the other one knows.
    assert by_cookie(there, cookie) == by_cookie(here, cookie) == 401
    assert by_cookie(there, session(there, alice)) == 200
    revoked = next(one for one in here.records() if one["action"] == "revoke_sessions" and not one["dry_run"])
    assert (revoked["user"], revoked["about"], revoked["success"]) == (ROOT, ALICE, True)
    assert (revoked["signed_by"], revoked["via"]) == (KEY.keyid, "ticket")
    assert "peer_uid" in revoked


def test_everybodys_sessions_end_with_all(there: BrokerProcess, root: Operator, alice: Operator) -> None:
    cookie = session(there, alice)
    assert done(root, "revoke-sessions", "--all").startswith("everybody: stopped: sessions")
    assert by_cookie(there, cookie) == 401


def test_somebody_gets_nothing_more_until_it_is_restored(there: BrokerProcess, root: Operator, alice: Operator) -> None:
    assert credentials(there, alice).status == 200
    said = done(root, "revoke-credentials", "--user", ALICE)
    assert "AWS sessions that were handed out go on until they expire" in said
    refused = credentials(there, alice)
    assert (refused.status, refused.code) == (403, "revoked")
    assert f"held      {ALICE}" in done(root, "revocations")
    listed = json.loads(done(root, "revocations", "--json"))["revocations"]
    assert (listed[0]["user"], listed[0]["by"]) == (ALICE, ROOT)
    assert done(root, "restore", "--user", ALICE) == f"{ALICE} may have credentials again, as the rules say\n"
    assert credentials(there, alice).status == 200
    again = root.admin("restore", "--user", ALICE)
    assert (again.returncode, "no credentials are revoked" in again.stderr) == (2, True)


def test_one_role_can_be_taken_alone(there: BrokerProcess, root: Operator, alice: Operator) -> None:
    done(root, "revoke-credentials", "--user", ALICE, "--role", "readonly")
    assert credentials(there, alice, "readonly").code == "revoked"
    assert credentials(there, alice).status == 200
    done(root, "restore", "--user", ALICE)
    assert credentials(there, alice, "readonly").status == 200


def test_who_is_no_operator_revokes_nobody(here: BrokerProcess, alice: Operator, root: Operator) -> None:
    body = wire_operators.restoration(user=ALICE)
    answers = [
        alice.ask(here.url, "POST", path, body, signer=KEY)
        for path in (wire_operators.REVOCATIONS_PATH, wire_operators.RESTORE_PATH)
    ]
    answers.append(alice.ask(here.url, "GET", wire_operators.REVOCATIONS_PATH))
    assert [(answer.status, answer.code) for answer in answers] == [(403, "access_denied")] * 3
    assert last(here)["reason"] == "no_operator"
    unsigned = root.ask(here.url, "POST", wire_operators.REVOCATIONS_PATH, b'{"what":"sessions","everybody":true}')
    assert (unsigned.status, unsigned.code) == (401, "signature_refused")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["revoke-sessions"], 2),
        (["revoke-sessions", "--all", "--user", ALICE], 2),
        (["revoke-credentials"], 2),
        (["revoke-credentials", "--user", "alice"], 2),
        (["revoke-credentials", "--user", "*@EXAMPLE.COM"], 2),
        (["revoke-credentials", "--user", ALICE, "--role", "nothing"], 2),
        (["restore", "--user", "mallory@EXAMPLE.COM"], 2),
    ],
    ids=str,
)
def test_what_an_operator_cannot_mean_is_refused_with_a_line(root: Operator, words: list[str], status: int) -> None:
    result = root.admin(*words)
    assert (result.returncode, result.stdout) == (status, "")
    assert result.stderr


def test_an_instance_that_does_not_confirm_is_named_and_the_status_says_so(
    fleet: tuple[BrokerProcess, BrokerProcess], root: Operator
) -> None:
    here, there = fleet
    assert there.process is not None
    there.process.send_signal(19)  # SIGSTOP: it lives, and hears nothing
    try:
        result = root.admin("revoke-sessions", "--user", "mallory@EXAMPLE.COM")
    finally:
        there.process.send_signal(18)
    assert result.returncode == 1
    assert "mallory@EXAMPLE.COM: stopped" in result.stdout
    assert "[unconfirmed] — run: zerotrust-admin revocations" in result.stderr
    kept = [one for one in here.records() if one["action"] == "revoke_sessions"][-1]
    assert kept["revocation_not_heard"]
