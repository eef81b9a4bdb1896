"""The main job, from a ticket to credentials, and everything that an attacker tries at its door."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import gssapi
import pytest

from tests.e2e.conftest import ASK, DEVELOPER, KERBEROS, House, Reply, negotiate, settings_of
from tests.fakes.broker import PROGRAMS, BrokerProcess
from tests.fakes.realm import Realm
from tests.fakes.redis import RedisServer
from tests.fakes.sts import StrictSts, demo_world
from tests.fakes.sts.demo import (
    BROKER_SECRET_ACCESS_KEY,
    DEVELOPER_EXTERNAL_ID,
    DEVELOPER_ROLE,
    HUB_EXTERNAL_ID,
    HUB_ROLE,
)

Tickets = dict[str, str]

MEMBERS = {
    "Version",
    "AccessKeyId",
    "SecretAccessKey",
    "SessionToken",
    "Token",
    "Expiration",
    "AccountId",
    "RoleArn",
}


@contextmanager
def house_of(
    folder: Path,
    realm: Realm,
    sts: StrictSts,
    *,
    without: tuple[str, ...] = (),
    **sections: Any,
) -> Iterator[House]:
    """A house with settings of its own; ``without`` are variables that the broker shall not have."""
    broker = BrokerProcess(folder, settings_of(folder, realm, sts, **sections), env=realm.env)
    for name in without:
        del broker._env[name]
    with broker:
        yield House(broker, realm, sts)


Build = Callable[..., AbstractContextManager[House]]


@pytest.fixture
def build(tmp_path: Path, realm: Realm, sts: StrictSts) -> Build:
    """``house_of()`` with everything that every house has."""
    return partial(house_of, tmp_path, realm, sts)


def chain(hub: str = HUB_EXTERNAL_ID, developer: str = DEVELOPER_EXTERNAL_ID) -> dict[str, Any]:
    hops = [{"arn": HUB_ROLE, "external_id": hub}, {"arn": DEVELOPER_ROLE, "external_id": developer}]
    return {"developer": {"chain": hops}}


# ---- the job itself ----


def test_curl_gets_the_one_body_and_the_second_time_from_the_cache(
    tmp_path: Path, realm: Realm, sts: StrictSts, alice: Tickets
) -> None:
    with house_of(tmp_path, realm, sts) as house:
        command = ["-i", "-H", "X-Zerotrust-Request: 1", "-d", DEVELOPER, f"{house.broker.url}/v1/credentials"]
        first = house.curl(alice, *command)
        head, _, text = first.stdout.rpartition("\n\n")
        assert "HTTP/1.1 200" in head
        assert "Cache-Control: no-store" in head
        body = json.loads(text)
        assert set(body) == MEMBERS
        assert body["Version"] == 1
        assert body["Token"] == body["SessionToken"]
        assert (body["AccountId"], body["RoleArn"]) == ("111122223333", DEVELOPER_ROLE)
        left = datetime.strptime(body["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) - datetime.now(UTC)
        assert timedelta(minutes=58) < left <= timedelta(minutes=60)
        assert [call["role_arn"] for call in sts.calls()] == [HUB_ROLE, DEVELOPER_ROLE]
        again = house.curl(alice, *command)
        assert json.loads(again.stdout.rpartition("\n\n")[2]) == body
        assert len(sts.calls()) == 2
        records = [record for record in house.broker.records() if record["event"] == "issued"]
        assert [record["origin"] for record in records] == ["sts", "cache"]
        assert {record["access_key_id"] for record in records} == {body["AccessKeyId"]}


def test_the_aws_cli_becomes_the_role_of_the_last_hop(house: House, alice: Tickets, tmp_path: Path) -> None:
    config = tmp_path / "aws-config"
    helper = f"{PROGRAMS / 'zerotrust'} credential-process --broker {house.broker.url} --role developer"
    config.write_text(f"[profile developer]\nregion = eu-central-1\ncredential_process = {helper}\n")
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_STS": house.sts.url,
        **alice,
    }
    command = [str(PROGRAMS / "aws"), "--profile", "developer", "sts", "get-caller-identity", "--output", "json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Arn"] == "arn:aws:sts::111122223333:assumed-role/Developer/alice@EXAMPLE.COM"


def test_the_helper_exits_with_4_for_who_is_denied(house: House, mallory: Tickets) -> None:
    done = house.helper(mallory, "credential-process", "--broker", house.broker.url, "--role", "developer")
    assert (done.returncode, done.stdout) == (4, "")
    assert "access_denied" in done.stderr


def test_who_am_i_and_what_may_i_have(house: House, alice: Tickets, mallory: Tickets) -> None:
    token = house.realm.client_token
    who = house.send("GET", "/v1/whoami", token=token(alice)).json
    assert (who["principal"], who["realm"], who["type"]) == ("alice@EXAMPLE.COM", "EXAMPLE.COM", "principal")
    roles = house.send("GET", "/v1/roles", token=token(alice)).json["roles"]
    place = {"account": "111122223333", "production": False, "role_arn": DEVELOPER_ROLE}
    assert roles == [{"name": "developer", **place, "scopes": [], "needs": []}]
    assert house.send("GET", "/v1/roles", token=token(mallory)).json["roles"] == []


# ---- who ----


def test_somebody_without_a_rule_is_refused_and_recorded(house: House, mallory: Tickets) -> None:
    reply = house.ask(house.realm.client_token(mallory))
    assert (reply.status, reply.code) == (403, "access_denied")
    record = house.broker.last_record()
    assert (record["event"], record["success"], record["reason"]) == ("refused", False, "no_rule")
    assert record["user"] == "mallory@EXAMPLE.COM"
    assert house.sts.calls() == []


def test_an_unknown_role_and_a_forbidden_one_get_the_same_answer(house: House, alice: Tickets) -> None:
    replies = [house.ask(house.realm.client_token(alice), role=role) for role in ("readonly", "no-such-role", "-x")]

    def without_what_differs_anyway(reply: Reply) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        body = reply.json
        assert body.pop("request_id") == reply.headers["X-Request-Id"]
        varying = {"X-Request-Id", "WWW-Authenticate", "Date"}
        return reply.status, body, [(name, value) for name, value in reply.headers.items() if name not in varying]

    first, *others = map(without_what_differs_anyway, replies)
    assert first[0] == 403
    assert others == [first, first]


def test_a_user_of_a_realm_that_is_not_listed_is_refused(house: House, partner_alice: Tickets) -> None:
    with house.realm.entered(partner_alice):
        reply = house.ask(house.realm.client_token(partner_alice))
    assert (reply.status, reply.code) == (403, "access_denied")
    assert house.last_reason() == "realm_not_allowed"


def test_one_name_in_two_realms_is_two_people(
    tmp_path: Path, realm: Realm, sts: StrictSts, alice: Tickets, partner_alice: Tickets
) -> None:
    realms = {"EXAMPLE.COM": {}, "PARTNER.EXAMPLE": {}}
    folder = tmp_path / "one"
    folder.mkdir()
    with house_of(folder, realm, sts, kerberos={"keytabs": [str(folder / "http.keytab")], "realms": realms}) as house:
        assert house.ask(realm.client_token(alice)).status == 200
        assert house.ask(realm.client_token(partner_alice)).code == "access_denied"
        assert house.last_reason() == "no_rule"
    folder = tmp_path / "other"
    folder.mkdir()
    rules = [{"name": "partners", "principals": ["alice@PARTNER.EXAMPLE"], "roles": ["developer"]}]
    kerberos = {"keytabs": [str(folder / "http.keytab")], "realms": realms}
    with house_of(folder, realm, sts, kerberos=kerberos, rules=rules) as house:
        sts.clear_calls()
        assert house.ask(realm.client_token(partner_alice)).status == 200
        assert {call["source_identity"] for call in sts.calls()} == {"alice@PARTNER.EXAMPLE"}
        assert house.ask(realm.client_token(alice)).code == "access_denied"


# ---- the ticket ----


def test_a_raw_kerberos_token_is_taken_too(house: House, alice: Tickets) -> None:
    assert house.ask(house.realm.client_token(alice, mechanism=KERBEROS)).status == 200


@pytest.mark.parametrize("mechanism", ["1.3.6.1.5.5.2", KERBEROS], ids=["SPNEGO", "Kerberos"])
def test_a_token_works_once(house: House, alice: Tickets, mechanism: str) -> None:
    token = house.realm.client_token(alice, mechanism=mechanism)
    assert house.ask(token).status == 200
    again = house.ask(token)
    assert (again.status, again.code) == (401, "auth_failed")
    assert house.last_reason() == "ticket_replayed"
    assert "replay" not in again.body.decode(), "why is for the record"


def test_a_token_works_once_across_two_brokers_of_one_host(
    house: House, tmp_path: Path, realm: Realm, sts: StrictSts, alice: Tickets
) -> None:
    token = realm.client_token(alice)
    assert house.ask(token).status == 200
    with house_of(tmp_path, realm, sts) as second:
        assert second.ask(token).status == 401
        assert second.last_reason() == "ticket_replayed"


def test_a_refused_request_uses_its_token_up_too(house: House, mallory: Tickets) -> None:
    token = house.realm.client_token(mallory)
    assert house.ask(token).status == 403
    assert house.ask(token).status == 401


@pytest.mark.parametrize("service", ["host@localhost", "HTTP@broker.localhost"])
def test_a_ticket_for_another_service_or_name_is_refused_though_its_key_lies_in_the_keytab(
    house: House, alice: Tickets, service: str
) -> None:
    reply = house.ask(house.realm.client_token(alice, service=service))
    assert (reply.status, reply.code) == (401, "auth_failed")
    assert house.last_reason() == "ticket_for_another_service"


def test_a_ticket_that_has_ended_is_refused_though_mit_would_take_it_five_minutes_more(
    house: House, tmp_path: Path
) -> None:
    tickets = house.realm.kinit("alice", tmp_path / "short", lifetime=timedelta(seconds=3))
    token = house.realm.client_token(tickets)
    time.sleep(4)
    reply = house.ask(token)
    assert (reply.status, reply.code) == (401, "auth_failed")
    assert house.last_reason() == "ticket_expired"


def test_a_ticket_that_ends_within_a_quarter_of_an_hour_is_refused_with_what_to_do(
    house: House, tmp_path: Path
) -> None:
    tickets = house.realm.kinit("alice", tmp_path / "short", lifetime=timedelta(minutes=14))
    reply = house.ask(house.realm.client_token(tickets))
    assert (reply.status, reply.code) == (401, "auth_failed")
    assert reply.json["hint"].endswith("run zerotrust login")
    assert house.last_reason() == "ticket_ends_too_soon"


def test_credentials_do_not_outlive_the_ticket(house: House, tmp_path: Path) -> None:
    tickets = house.realm.kinit("alice", tmp_path / "short", lifetime=timedelta(minutes=30))
    ends = datetime.now(UTC) + timedelta(minutes=30, seconds=2)
    reply = house.ask(house.realm.client_token(tickets))
    expiration = datetime.strptime(reply.json["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert expiration <= ends
    assert expiration > ends - timedelta(minutes=2)


def test_a_token_with_a_byte_changed_is_refused_or_is_still_the_same_token(house: House, alice: Tickets) -> None:
    """Some bytes of the wrapping mean nothing; none of them makes a token somebody else's, or good twice."""
    token = house.realm.client_token(alice)
    used = False
    for place in range(0, len(token), 37):
        changed = bytearray(token)
        changed[place] ^= 0x10
        reply = house.ask(bytes(changed))
        assert reply.status in ((401, 403) if used else (200, 401, 403)), place
        used = used or reply.status == 200
    if used:
        assert house.ask(token).status == 401


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        ("Negotiate " + base64.b64encode(b"NTLMSSP\0" + bytes(32)).decode(), "ntlm_offered"),
        ("Negotiate", "empty_token"),
        ("Negotiate !!!", "not_base64"),
        ("Negotiate YWJjZGVmZw==", None),
        ("Basic YWxpY2U6d29uZGVybGFuZA==", "other_scheme"),
        ("Bearer abc.def.ghi", "other_scheme"),
        ("Negotiate " + base64.b64encode(b"\x60\x82" + b"\xff" * 2000).decode(), None),
    ],
)
def test_what_is_no_ticket_is_challenged_anew(house: House, authorization: str, reason: str | None) -> None:
    headers = {**ASK, "Authorization": authorization}
    reply = house.send("POST", "/v1/credentials", headers=headers, body=DEVELOPER)
    assert (reply.status, reply.code) == (401, "auth_failed")
    assert reply.headers["WWW-Authenticate"] == "Negotiate"
    assert reason in (None, house.last_reason())
    assert ("NTLM" in reply.json["hint"]) == (reason == "ntlm_offered")


def test_who_brings_nothing_is_challenged_and_leaves_no_record(house: House) -> None:
    before = len(house.broker.records())
    for reply in (house.ask(None), house.send("GET", "/v1/whoami"), house.send("GET", "/")):
        assert (reply.status, reply.code) == (401, "auth_required")
        assert reply.headers["WWW-Authenticate"] == "Negotiate"
    assert len(house.broker.records()) == before


def test_the_broker_proves_itself_to_an_initiator_that_asks(house: House, alice: Tickets) -> None:
    with house.realm.entered(alice):
        context = gssapi.SecurityContext(
            name=gssapi.Name("HTTP@localhost", gssapi.NameType.hostbased_service),
            mech=gssapi.OID.from_int_seq("1.3.6.1.5.5.2"),
            flags=[gssapi.RequirementFlag.mutual_authentication],
            usage="initiate",
        )
        reply = house.ask(context.step())
        scheme, _, proof = reply.headers["WWW-Authenticate"].partition(" ")
        assert (reply.status, scheme) == (200, "Negotiate")
        assert not context.complete
        context.step(base64.b64decode(proof))
        assert context.complete
        assert gssapi.RequirementFlag.mutual_authentication in context.actual_flags


# ---- the request ----


def test_credentials_are_never_made_by_get(house: House, alice: Tickets) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "TRACE"):
        reply = house.send(method, "/v1/credentials", token=house.realm.client_token(alice))
        assert (reply.status, reply.headers["Allow"]) == (405, "POST"), method
    for method in ("PUT", "DELETE", "PATCH"):
        reply = house.send(method, "/v1/credentials", headers=ASK, body=DEVELOPER, token=b"x")
        assert (reply.status, reply.headers["Allow"]) == (405, "POST"), method


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {**ASK, "X-Zerotrust-Request": "0"},
        {**ASK, "X-Zerotrust-Request": ""},
        {**ASK, "Sec-Fetch-Site": "cross-site"},
        {**ASK, "Sec-Fetch-Site": "same-site"},
        {**ASK, "Origin": "https://evil.example"},
        {**ASK, "Origin": "null"},
        {**ASK, "Origin": "http://localhost:1"},
        {**ASK, "Origin": "http://["},
        {**ASK, "Origin": "http://localhost.evil.example"},
        {**ASK, "Origin": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("ticket", [False, True], ids=["without a ticket", "with a ticket"])
def test_another_web_page_is_refused_without_a_challenge(
    house: House,
    alice: Tickets,
    headers: dict[str, str],
    ticket: bool,  # noqa: FBT001
) -> None:
    token = house.realm.client_token(alice) if ticket else None
    reply = house.send("POST", "/v1/credentials", headers=headers, body=DEVELOPER, token=token)
    assert (reply.status, reply.code) == (403, "cross_site_blocked")
    assert "WWW-Authenticate" not in reply.headers
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert house.sts.calls() == []


@pytest.mark.parametrize("path", ["/", "/v1/whoami", "/v1/roles", "/nowhere"])
def test_another_web_page_s_navigation_or_fetch_gets_no_challenge(house: House, path: str) -> None:
    reply = house.send("GET", path, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert reply.status == 403
    assert "WWW-Authenticate" not in reply.headers


def test_a_preflight_is_never_granted(house: House) -> None:
    reply = house.send(
        "OPTIONS",
        "/v1/credentials",
        headers={
            "Origin": "https://evil.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-zerotrust-request",
        },
    )
    assert reply.status == 403
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


def test_our_own_page_may_ask(house: House, alice: Tickets) -> None:
    headers = {**ASK, "Origin": f"http://localhost:{house.port}", "Sec-Fetch-Site": "same-origin"}
    token = house.realm.client_token(alice)
    assert house.send("POST", "/v1/credentials", headers=headers, body=DEVELOPER, token=token).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "", "localhost.evil.example", "evil@localhost", "localhost/x", "localhost#", "[::1]"],
)
def test_a_host_that_is_not_ours_is_refused_without_a_challenge(house: House, host: str) -> None:
    for reply in (
        house.send("GET", "/v1/whoami", host=host),
        house.send("POST", "/v1/credentials", headers=ASK, body=DEVELOPER, host=host),
    ):
        assert (reply.status, reply.code) == (421, "host_not_allowed")
        assert "WWW-Authenticate" not in reply.headers


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80"])
def test_our_host_counts_in_any_case_and_with_any_port(house: House, host: str) -> None:
    assert house.send("GET", "/v1/whoami", host=host).status == 401


def test_a_target_that_names_another_host_cannot_take_the_place_of_the_host_header(house: House) -> None:
    for target in ("http://localhost/v1/whoami", "http://evil.example/"):
        reply = house.raw(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert reply.startswith(b"HTTP/1.1 400")
        assert b"WWW-Authenticate" not in reply


@pytest.mark.parametrize(
    ("headers", "body", "answer"),
    [
        ({"Content-Type": "text/plain"}, DEVELOPER, (415, "unsupported_media_type")),
        ({"Content-Type": "multipart/form-data; boundary=x"}, DEVELOPER, (415, "unsupported_media_type")),
        ({"Content-Type": ";;;"}, DEVELOPER, (415, "unsupported_media_type")),
        ({"Content-Encoding": "gzip"}, "not gzip", (415, "unsupported_media_type")),
        ({}, "", (400, "bad_request")),
        ({}, "{}", (400, "bad_request")),
        ({}, '{"role":"developer","external_id":"x"}', (400, "bad_request")),
        ({}, '{"role":"developer","duration":43200}', (400, "bad_request")),
        ({}, '{"role":"developer","tags":{"Team":"x"}}', (400, "bad_request")),
        ({}, '{"role":"developer","policy":"{}"}', (400, "bad_request")),
        ({}, '{"role":"developer","role":"readonly"}', (400, "bad_request")),
        ({}, "role=developer", (400, "bad_request")),
        ({}, "x" * 65536, (413, "too_large")),
    ],
)
def test_a_request_of_another_shape_reaches_nobody(
    house: House, alice: Tickets, headers: dict[str, str], body: str, answer: tuple[int, str]
) -> None:
    token = house.realm.client_token(alice)
    reply = house.send("POST", "/v1/credentials", headers={**ASK, **headers}, body=body, token=token)
    assert (reply.status, reply.code) == answer
    assert house.sts.calls() == []


def test_two_authorization_headers_are_refused(house: House, alice: Tickets, mallory: Tickets) -> None:
    tokens = [("Authorization", negotiate(house.realm.client_token(who))) for who in (mallory, alice)]
    reply = house.send("POST", "/v1/credentials", headers=[*ASK.items(), *tokens], body=DEVELOPER)
    assert (reply.status, reply.code) == (400, "bad_request")


def test_a_ticket_of_a_user_in_a_thousand_groups_fits(house: House) -> None:
    headers = {**ASK, "Authorization": "Negotiate " + "QUJD" * 15000}
    reply = house.send("POST", "/v1/credentials", headers=headers, body=DEVELOPER)
    assert (reply.status, reply.code) == (401, "auth_failed")
    headers["Authorization"] = "Negotiate " + "QUJD" * 32000
    assert house.send("POST", "/v1/credentials", headers=headers, body=DEVELOPER).status == 401


_HOST = b"Host: localhost\r\nConnection: close\r\n"


_GARBAGE = {
    "long header": (
        b"GET / HTTP/1.1\r\n" + _HOST + b"Authorization: Negotiate CANARY" + b"Q" * 140_000 + b"\r\n\r\n",
        431,
    ),
    "long target": (b"GET /CANARY" + b"Q" * 9000 + b" HTTP/1.1\r\n" + _HOST + b"\r\n", 431),
    "no request line": (b"CANARY\0\r\n\r\n", 400),
    "control character in a name": (b"GET / HTTP/1.1\r\nCANARY\x01: x\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\nX: CANARY\0\r\n\r\n", 400),
    "300 headers": (b"GET / HTTP/1.1\r\n" + _HOST + b"X: CANARY\r\n" * 300 + b"\r\n", 400),
    "length in letters": (b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: CANARY\r\n\r\n", 400),
    "two lengths": (
        b"POST / HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\nCANARY",
        400,
    ),
    "chunk in letters": (b"POST / HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\nCANARY\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: CANARY\r\n\r\n", 400),
    "expectation": (b"GET / HTTP/1.1\r\n" + _HOST + b"Expect: CANARY\r\n\r\n", 401),
    "no such path": (b"GET /CANARY HTTP/1.1\r\n" + _HOST + b"\r\n", 404),
    "no such method": (b"CANARY / HTTP/1.1\r\n" + _HOST + b"\r\n", 400),
    "method of others": (b"PROPFIND / HTTP/1.1\r\n" + _HOST + b"X: CANARY\r\n\r\n", 405),
    "TLS": (b"\x16\x03\x01\x02\x00CANARY\r\n\r\n", 400),
}


@pytest.mark.parametrize("what", _GARBAGE)
def test_what_cannot_be_read_or_found_is_answered_in_our_words_and_never_repeated(house: House, what: str) -> None:
    request_bytes, status = _GARBAGE[what]
    logged = len(house.broker.output.read_text())
    reply = house.raw(request_bytes)
    assert int(reply.split()[1]) == status
    assert b"application/problem+json" in reply
    assert b"X-Frame-Options: DENY" in reply
    assert b"aiohttp" not in reply
    assert b"CANARY" not in reply
    assert b"QQQQ" not in reply
    assert house.broker.output.read_text()[logged:] == "", "an attacker must not be able to fill the log"


def test_clients_that_hang_up_in_the_middle_leave_no_trace_in_the_log(house: House) -> None:
    logged = len(house.broker.output.read_text())
    head = b"POST /v1/credentials HTTP/1.1\r\nHost: localhost\r\nX-Zerotrust-Request: 1\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n"
    for data in (b"", b"PO", head[:60], head, head + b'{"role":'):
        with socket.create_connection(("127.0.0.1", house.port)) as connection:
            connection.sendall(data)
            time.sleep(0.05)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert house.send("GET", "/healthz").status == 200
    assert house.broker.output.read_text()[logged:] == ""


def test_every_answer_forbids_caching_framing_and_sniffing(house: House, alice: Tickets) -> None:
    replies = [
        house.ask(house.realm.client_token(alice)),
        house.ask(None),
        house.send("GET", "/"),
        house.send("GET", "/nowhere"),
        house.send("GET", "/healthz"),
        house.send("GET", "/page.css"),
        house.send("GET", "/", host="evil.example"),
    ]
    for reply in replies:
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.headers["Server"] == "zerotrust-broker"
        assert re.fullmatch(r"[0-9a-f]{24}", reply.headers["X-Request-Id"])


# ---- many at once ----


async def all_at_once(port: int, tokens: list[bytes]) -> list[bytes]:
    """Every request is on its way before the first answer is read."""

    async def one(token: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /v1/credentials HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Zerotrust-Request: 1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 20\r\n"
            b"Authorization: " + negotiate(token).encode() + b"\r\n\r\n" + DEVELOPER.encode()
        )
        answer = await reader.read()
        writer.close()
        return answer

    return await asyncio.gather(*map(one, tokens))


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_two_hundred_first_requests_at_once_are_one_chain(
    store: str, tmp_path: Path, realm: Realm, alice: Tickets, redis_server: RedisServer
) -> None:
    password = tmp_path / "redis_password"
    password.touch(mode=0o600)
    password.write_text(redis_server.password)
    sections = {"redis": {"url": redis_server.url, "password_file": str(password)}} if store == "redis" else {}
    tokens = [realm.client_token(alice) for _ in range(200)]
    with (
        StrictSts(demo_world(), latency_ms=60) as sts,
        house_of(tmp_path, realm, sts, **sections) as house,
    ):
        answers = await all_at_once(house.port, tokens)
        bodies = {answer.partition(b"\r\n\r\n")[2] for answer in answers}
        assert {answer.split()[1] for answer in answers} == {b"200"}
        assert len(bodies) == 1
        assert len(sts.calls()) == 2
        records = [record for record in house.broker.records() if record["event"] == "issued"]
        assert len(records) == 200
        assert len({record["request_id"] for record in records}) == 200
        assert sum(record["event"] == "intent" for record in house.broker.records()) == 1


# ---- when AWS says no ----


@pytest.mark.parametrize(
    ("wrong", "calls"), [({"hub": "canary-wrong-id"}, 1), ({"developer": "canary-wrong-id"}, 2)], ids=["hop 1", "hop 2"]
)
def test_a_wrong_external_id_is_one_attempt_and_leaves_nothing(
    build: Build, alice: Tickets, wrong: dict[str, str], calls: int
) -> None:
    with build(roles=chain(**wrong)) as house:
        token, sts = house.realm.client_token, house.sts
        reply = house.ask(token(alice))
        assert (reply.status, reply.code) == (502, "sts_rejected")
        assert len(sts.calls()) == calls
        assert b"ASIA" not in reply.body
        assert b"canary" not in reply.body
        record = house.broker.last_record()
        assert (record["event"], record["reason"]) == ("refused", f"hop{calls}_access_denied")
        assert record["access_key_id"] is None
        # Nothing was kept but the denial, for some seconds: the next is refused and recorded alike.
        assert house.ask(token(alice)).status == 502
        assert house.last_reason() == f"hop{calls}_access_denied"
        assert len(sts.calls()) == calls
        assert "canary-wrong-id" not in house.broker.output.read_text()


def test_credentials_at_hand_are_given_while_sts_is_ill(house: House, alice: Tickets) -> None:
    assert house.ask(house.realm.client_token(alice)).status == 200
    house.sts.fault("hang", seconds=1)
    assert house.ask(house.realm.client_token(alice)).status == 200


# ---- listeners ----


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, server.pem and server.key (RSA, as the guide's cipher suites need)."""
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "server.key",
            "-out",
            "server.pem",
            *subject,
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (folder / "server.key").chmod(0o600)
    return folder


GUIDE_CIPHERS = ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]


@pytest.fixture
def tls_house(tmp_path: Path, realm: Realm, sts: StrictSts, certificate: Path) -> Iterator[House]:
    with house_of(
        tmp_path,
        realm,
        sts,
        server={"listen": ["https://127.0.0.1:0"], "hostnames": ["localhost"]},
        tls={
            "min_version": "TLSv1.2",
            "ciphers": GUIDE_CIPHERS,
            "certificate": str(certificate / "server.pem"),
            "private_key": str(certificate / "server.key"),
        },
    ) as house:
        yield house


def test_the_job_is_done_over_tls_with_the_guide_s_suites_and_nothing_older(
    tls_house: House, certificate: Path, alice: Tickets
) -> None:
    url = f"https://localhost:{tls_house.port}/v1/credentials"
    assert tls_house.broker.url == f"https://localhost:{tls_house.port}"

    def call(*options: str) -> subprocess.CompletedProcess[str]:
        wanted = ["-i", "-H", "X-Zerotrust-Request: 1", "-d", DEVELOPER, "--cacert", str(certificate / "server.pem")]
        return tls_house.curl(alice, *wanted, *options, url)

    for options in (
        ("--tlsv1.3",),
        ("--tlsv1.2", "--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES256-GCM-SHA384"),
        ("--tlsv1.2", "--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES128-GCM-SHA256"),
    ):
        done = call(*options)
        assert '"AccessKeyId":"ASIA' in done.stdout, (options, done)
        assert "Strict-Transport-Security: max-age=" in done.stdout
    for options in (
        ("--tlsv1.2", "--tls-max", "1.2", "--ciphers", "ECDHE-RSA-CHACHA20-POLY1305"),
        ("--tlsv1.2", "--tls-max", "1.2", "--ciphers", "AES256-GCM-SHA384"),
        ("--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"),
    ):
        assert call(*options).returncode == 35, options
    refused = tls_house.curl(alice, url)
    assert refused.returncode == 60, "the certificate is checked by this test at all"
    done = tls_house.helper(
        alice,
        *("credential-process", "--role", "developer", "--broker", tls_house.broker.url),
        *("--ca-file", str(certificate / "server.pem")),
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_job_is_done_over_a_unix_socket_where_rules_with_networks_do_not_hold(
    tmp_path: Path, realm: Realm, sts: StrictSts, alice: Tickets
) -> None:
    path = tmp_path / "broker.sock"
    rules = [
        {"name": "from-anywhere", "principals": ["alice@EXAMPLE.COM"], "roles": ["developer"]},
        {
            "name": "from-networks",
            "principals": ["alice@EXAMPLE.COM"],
            "networks": ["0.0.0.0/0", "::/0"],
            "roles": ["readonly"],
        },
    ]
    server = {"listen": [f"unix:{path}", "http://127.0.0.1:0"], "hostnames": ["localhost"]}
    for _ in range(2):  # The second start finds the socket of the first, which was killed.
        broker = BrokerProcess(tmp_path, settings_of(tmp_path, realm, sts, server=server, rules=rules), env=realm.env)
        broker.start()
        house = House(broker, realm, sts)

        def call(role: str, house: House = house) -> dict[str, Any]:
            wanted = ["--unix-socket", str(path), "-H", "X-Zerotrust-Request: 1", "-d", json.dumps({"role": role})]
            found: dict[str, Any] = json.loads(house.curl(alice, *wanted, "http://localhost/v1/credentials").stdout)
            return found

        assert call("developer")["AccountId"] == "111122223333"
        assert call("readonly")["code"] == "access_denied"
        assert broker.last_record()["source_ip"] is None
        broker.kill()


def test_a_client_from_elsewhere_gets_not_even_a_challenge(tmp_path: Path, realm: Realm, sts: StrictSts) -> None:
    server = {"listen": ["http://127.0.0.1:0"], "hostnames": ["localhost"], "allowed_networks": ["10.0.0.0/8"]}
    with house_of(tmp_path, realm, sts, server=server) as house:
        reply = house.ask(None)
        assert (reply.status, reply.code) == (403, "access_denied")
        assert "WWW-Authenticate" not in reply.headers


# ---- the end ----


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_ends_with_0_after_what_is_under_way_and_takes_nothing_new(
    tmp_path: Path, realm: Realm, alice: Tickets
) -> None:
    with StrictSts(demo_world(), latency_ms=700) as sts, house_of(tmp_path, realm, sts) as house:
        replies: list[Reply] = []
        token = realm.client_token(alice)
        asking = threading.Thread(target=lambda: replies.append(house.ask(token)))
        asking.start()
        while not sts.calls():
            time.sleep(0.02)
        process = house.broker.process
        assert process is not None
        process.terminate()
        deadline = time.monotonic() + 0.5
        while not refuses_connections(house.port):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        asking.join(10)
        assert replies[0].status == 200
        assert process.wait(10) == 0
        issued = [record for record in house.broker.records() if record["event"] == "issued"]
        assert [record["access_key_id"] for record in issued] == [replies[0].json["AccessKeyId"]]
        assert house.broker.last_record()["event"] == "broker_stop"
        assert house.broker.admin("audit", "verify").returncode == 0


def test_sigterm_ends_within_ten_seconds_though_sts_hangs(
    tmp_path: Path, realm: Realm, sts: StrictSts, alice: Tickets
) -> None:
    with house_of(tmp_path, realm, sts) as house:
        sts.fault("hang", seconds=60)
        token = realm.client_token(alice)
        asking = threading.Thread(target=house.ask, args=(token,))
        asking.start()
        while not sts.calls():
            time.sleep(0.02)
        started = time.monotonic()
        assert house.broker.stop() == 0
        assert time.monotonic() - started < 10
        asking.join(10)


# ---- secrets ----


def test_no_secret_is_in_log_metrics_or_audit(
    tmp_path: Path, realm: Realm, sts: StrictSts, alice: Tickets, mallory: Tickets
) -> None:
    for name, content in {"aws_secret": BROKER_SECRET_ACCESS_KEY, "hub_id": HUB_EXTERNAL_ID}.items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(content + "\n")
    roles = {
        "developer": {
            "chain": [
                {"arn": HUB_ROLE, "external_id_file": str(tmp_path / "hub_id")},
                {"arn": DEVELOPER_ROLE, "external_id": DEVELOPER_EXTERNAL_ID},
            ]
        }
    }
    aws = {"region": "eu-central-1", "sts_endpoint": sts.url, "secret_key_file": str(tmp_path / "aws_secret")}
    with house_of(tmp_path, realm, sts, without=("ZEROTRUST_AWS_SECRET_KEY",), roles=roles, aws=aws) as house:
        tokens = [realm.client_token(who) for who in (alice, alice, mallory)]
        replies = [house.ask(token) for token in tokens]
        assert [reply.status for reply in replies] == [200, 200, 403]
        house.ask(tokens[0])
        sts.fault("other_role")
        house.ask(realm.client_token(alice), role="readonly")
        body = replies[0].json
        encryption_key = (tmp_path / "encryption_key").read_text().strip()
        metrics = house.send("GET", "/metrics").body
    places = {
        "log": house.broker.output.read_bytes(),
        "audit": b"".join(path.read_bytes() for path in sorted(house.broker.audit_directory.iterdir())),
        "metrics": metrics,
    }
    assert b"issued" in places["audit"]
    assert b"broker_credential_requests_total" in metrics
    secrets = [
        BROKER_SECRET_ACCESS_KEY,
        HUB_EXTERNAL_ID,
        DEVELOPER_EXTERNAL_ID,
        body["SecretAccessKey"],
        body["SessionToken"],
        body["SessionToken"][:32],
        encryption_key,
        base64.b64decode(encryption_key).hex(),
        *(base64.b64encode(token).decode()[-64:] for token in tokens),
    ]
    for place, content in places.items():
        for secret in secrets:
            assert secret.encode() not in content, place


# ---- for machines ----


def test_health_readiness_metrics_and_keys_are_there_without_a_ticket(house: House, alice: Tickets) -> None:
    house.ask(house.realm.client_token(alice))
    assert house.send("GET", "/healthz", host="10.0.0.1:8443").json == {"status": "ok"}
    ready = house.send("GET", "/readyz", host="10.0.0.1:8443")
    assert ready.status == 200
    assert set(ready.json["dependencies"]) >= {"audit", "cache", "sts"}
    metrics = house.send("GET", "/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = metrics.body.decode()
    assert 'broker_credential_requests_total{outcome="issued",reason="",role="developer"}' in text
    for name in (
        "broker_spnego_seconds",
        "broker_sts_request_seconds",
        "broker_sts_errors",
        "broker_cache_requests_total",
        "broker_credentials_remaining_seconds",
        "broker_audit_last_checkpoint_timestamp_seconds",
    ):
        assert name in text
    assert "alice" not in text, "a principal is never a label"
    (key,) = house.send("GET", "/.well-known/jwks.json").json["keys"]
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("OKP", "Ed25519", "sig", "EdDSA")
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}, "no private part"
    assert {record["kid"] for record in house.broker.records()} == {key["kid"]}


def test_a_role_s_name_that_somebody_made_up_never_becomes_a_label(house: House, alice: Tickets) -> None:
    house.ask(house.realm.client_token(alice), role="canary-made-up")
    assert b"canary-made-up" not in house.send("GET", "/metrics").body
