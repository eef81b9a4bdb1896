"""Signed operators' requests (RFC 9421) at real brokers of one fleet: signed by another implementation, bent on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker import wire, wire_operators
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.certificates import server_certificate
from tests.fakes.operator import MARK, Answer, Operator, addresses, last, send
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.request_signer import COVERED, RequestSigner

NO_STS = "http://127.0.0.1:1"
ROOT, CAROL = "root/admin@EXAMPLE.COM", "carol/admin@EXAMPLE.COM"
CANCEL = wire_operators.CANCEL_PATH
BODY = wire_operators.pass_cancellation(user="alice@EXAMPLE.COM", identifier="0" * 32)
ED25519, P256, OF_CAROL = RequestSigner.ed25519(), RequestSigner.p256(), RequestSigner.ed25519()
# Signatures are looked at before anybody looks for the pass.
NO_SUCH_PASS = 404

Headers = list[tuple[str, str]]


@pytest.fixture(scope="module")
def fleet(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerProcess, BrokerProcess]]:
    """Two instances with one Redis, each with a replay file of its own, as on two hosts."""
    folder = tmp_path_factory.mktemp("fleet")
    shown = server_certificate(folder / "tls", "ecdsa-sha256")
    of_root = folder / "root.pem"
    of_root.touch(mode=0o600)
    of_root.write_text(P256.public_pem)
    keys = [
        {"principal": ROOT, "public_key": ED25519.public_pem},
        {"principal": ROOT, "public_key_file": str(of_root)},
        {"principal": CAROL, "public_key": OF_CAROL.public_pem},
    ]

    def instance(name: str, server: RedisServer) -> BrokerProcess:
        inner = folder / name
        inner.mkdir()
        settings = configuration(
            inner,
            keytab=realm.keytab(inner / "http.keytab", "HTTP/localhost"),
            sts_endpoint=NO_STS,
            server={"listen": ["http://127.0.0.1:0", "https://127.0.0.1:0"], "hostnames": ["localhost"]},
            tls={"certificate": str(shown.certificate), "private_key": str(shown.key)},
            redis={"url": server.url, "password": server.password},
            admin={
                "socket": str(inner / "s"),
                "principals": ["*/admin@EXAMPLE.COM"],
                "require_signed_requests": True,
                "signing_keys": keys,
            },
        )
        return BrokerProcess(inner, settings, env={**realm.env, "KRB5RCACHENAME": f"file2:{inner / 'replay'}"})

    with RedisServer.start(folder / "redis") as server:
        one, two = instance("one", server), instance("two", server)
        with one, two:
            yield one, two


@pytest.fixture(scope="module")
def broker(fleet: tuple[BrokerProcess, BrokerProcess]) -> BrokerProcess:
    return fleet[0]


@pytest.fixture(scope="module")
def root(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(realm, "root/admin", tmp_path_factory.mktemp("root") / "ccache")


@pytest.fixture(scope="module")
def carol(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    realm.add_principal("carol/admin", "carrol")
    return Operator(realm, "carol/admin", tmp_path_factory.mktemp("carol") / "ccache")


def refused(broker: BrokerProcess, answer: Answer, reason: str) -> None:
    """A 401 that says nothing of why; the record does."""
    assert (answer.status, answer.code) == (401, "signature_refused"), answer.body
    assert reason not in answer.body.decode()
    record = last(broker)
    assert (record["event"], record["success"], record["reason"]) == ("refused", False, reason)


def replaced(name: str, value: str) -> Callable[[Headers], Headers]:
    return lambda headers: [(found, value if found.lower() == name else old) for found, old in headers]


def repeated(name: str) -> Callable[[Headers], Headers]:
    return lambda headers: [*headers, next(pair for pair in headers if pair[0].lower() == name)]


def dropped(name: str) -> Callable[[Headers], Headers]:
    return lambda headers: [pair for pair in headers if pair[0].lower() != name]


# ---- the good ones ----


@pytest.mark.parametrize("signer", [ED25519, P256], ids=["ed25519", "p256"])
@pytest.mark.parametrize("way", ["http", "https", "socket"])
def test_a_signed_request_is_served_by_every_way_and_the_record_names_the_key(
    broker: BrokerProcess, root: Operator, signer: RequestSigner, way: str
) -> None:
    end = broker.folder / "s" if way == "socket" else addresses(broker)[way]
    answer = root.ask(end, signer=signer)
    assert (answer.status, answer.json["signed_by"]) == (200, signer.keyid), answer.body
    assert last(broker)["signed_by"] == signer.keyid
    assert root.ask(end, "POST", CANCEL, BODY, signer=signer).status == NO_SUCH_PASS


def test_each_operator_signs_with_their_own_key(broker: BrokerProcess, root: Operator, carol: Operator) -> None:
    assert carol.ask(broker.url, signer=OF_CAROL).json["principal"] == CAROL
    refused(broker, root.ask(broker.url, signer=OF_CAROL), "signature_key_of_another")
    refused(broker, carol.ask(broker.url, signer=ED25519), "signature_key_of_another")


# ---- the bad ones ----


def test_an_unsigned_request_is_refused_and_who_sent_it_recorded(broker: BrokerProcess, root: Operator) -> None:
    refused(broker, root.ask(broker.url), "signature_missing")
    assert last(broker)["user"] == ROOT


def test_who_is_no_operator_hears_nothing_of_signatures(broker: BrokerProcess, realm: Realm, tmp_path: Path) -> None:
    mallory = Operator(realm, "mallory", tmp_path / "ccache")
    for signer in (None, ED25519, RequestSigner.ed25519()):
        answer = mallory.ask(broker.url, signer=signer)
        assert (answer.status, answer.code) == (403, "access_denied")


BENT: dict[str, tuple[Callable[[Headers], Headers], str]] = {
    "the mark, to another value": (lambda headers: [*headers, ("X-Zerotrust-Request", "1")], "signature_ambiguous"),
    "the digest, to another": (replaced("content-digest", "sha-256=:" + "A" * 43 + "=:"), "signature_wrong"),
    "the digest, taken away": (dropped("content-digest"), "signature_wrong"),
    "the signature, to another": (replaced("signature", "sig1=:" + "A" * 86 + "==:"), "signature_wrong"),
    "the signature, taken away": (dropped("signature"), "signature_missing"),
    "the input, taken away": (dropped("signature-input"), "signature_missing"),
    "the digest, twice": (repeated("content-digest"), "signature_ambiguous"),
    "the signature, twice": (repeated("signature"), "signature_ambiguous"),
    "the input, twice": (repeated("signature-input"), "signature_ambiguous"),
}


@pytest.mark.parametrize("what", BENT)
def test_headers_that_were_changed_on_their_way_are_refused(broker: BrokerProcess, root: Operator, what: str) -> None:
    bend, reason = BENT[what]
    refused(broker, root.ask(broker.url, "POST", CANCEL, BODY, signer=ED25519, bend=bend), reason)


def test_a_signature_goes_with_its_ticket_target_method_and_body(broker: BrokerProcess, root: Operator) -> None:
    host = ("Host", broker.url.partition("//")[2])
    length = [("Content-Type", wire.JSON), ("Content-Length", str(len(BODY)))]

    def signed(method: str, target: str, body: bytes = b"") -> Headers:
        headers = [host, root.ticket(), MARK, *(length if body else [])]
        return ED25519.signed(method, f"{broker.url}{target}", headers, body)

    other = BODY.replace(b"alice", b"boris")
    for method, target, sent, headers, reason in (
        ("POST", CANCEL, other, signed("POST", CANCEL, BODY), "signature_digest"),
        ("POST", f"{CANCEL}?x", BODY, signed("POST", CANCEL, BODY), "signature_wrong"),
        ("POST", f"{CANCEL}#x", BODY, signed("POST", CANCEL, BODY), "signature_coverage"),
        ("GET", wire_operators.WHOAMI_PATH, b"", signed("POST", wire_operators.WHOAMI_PATH), "signature_wrong"),
        ("GET", wire_operators.WHOAMI_PATH, b"", signed("GET", "/v1/admin/whoamI"), "signature_wrong"),
        ("GET", "/v1/admin/who%61mi", b"", signed("GET", wire_operators.WHOAMI_PATH), "signature_wrong"),
        (
            "GET",
            wire_operators.WHOAMI_PATH,
            b"",
            replaced("host", "localhost:1")(signed("GET", wire_operators.WHOAMI_PATH)),
            "signature_wrong",
        ),
        (
            "GET",
            wire_operators.WHOAMI_PATH,
            b"",
            replaced("authorization", root.ticket()[1])(signed("GET", wire_operators.WHOAMI_PATH)),
            "signature_wrong",
        ),
    ):
        refused(broker, send(broker.url, method, target, headers, sent), reason)


@pytest.mark.parametrize(
    ("signing", "reason"),
    [
        ({"digest": None}, "signature_coverage"),
        ({"covered": COVERED}, "signature_coverage"),
        ({"covered": [*COVERED[1:], "content-digest"]}, "signature_coverage"),
        ({"created": 1_700_000_000}, "signature_time"),
        ({"created": 2_900_000_000}, "signature_time"),
        ({"created": None}, "signature_time"),
        ({"nonce": None}, "signature_nonce"),
        ({"keyid": "nobody's"}, "signature_key_unknown"),
        ({"alg": "hmac-sha256"}, "signature_algorithm"),
        ({"alg": "ecdsa-p256-sha256"}, "signature_algorithm"),
    ],
    ids=str,
)
def test_a_signature_that_says_too_little_or_something_else_is_refused(
    broker: BrokerProcess, root: Operator, signing: dict[str, Any], reason: str
) -> None:
    refused(broker, root.ask(broker.url, "POST", CANCEL, BODY, signer=ED25519, **signing), reason)


def test_a_signature_under_another_keys_name_is_wrong(broker: BrokerProcess, root: Operator) -> None:
    refused(broker, root.ask(broker.url, signer=ED25519, keyid=P256.keyid), "signature_wrong")


def test_a_signed_request_counts_once_at_all_instances(
    fleet: tuple[BrokerProcess, BrokerProcess], root: Operator
) -> None:
    one, two = fleet
    host = ("Host", one.url.partition("//")[2])
    headers = ED25519.signed("GET", f"{one.url}{wire_operators.WHOAMI_PATH}", [host, root.ticket(), MARK])
    assert send(one.url, "GET", wire_operators.WHOAMI_PATH, headers).status == 200
    # Sent on to the other one as it stands, Host and all (both are localhost): its ticket is spent.
    assert send(two.url, "GET", wire_operators.WHOAMI_PATH, headers).status == 401
    assert last(two)["reason"] == "ticket_replayed"
    # And with a fresh ticket the nonce is.
    nonce = "spent-at-the-first-instance"
    assert root.ask(one.url, signer=ED25519, nonce=nonce).status == 200
    refused(two, root.ask(two.url, signer=ED25519, nonce=nonce), "signature_replayed")
    assert root.ask(two.url, signer=P256, nonce=nonce).status == 200, "another key's nonce is another one"
