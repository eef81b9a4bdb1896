"""An endpoint of the user's side: whatever a process sends there, a refusal, or credentials for exactly one request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker import wire
from zerotrust_kerberos.agent.endpoint import CONTAINER_PATH, Endpoint
from zerotrust_kerberos.agent.http import HEAD_MAX, Malformed, read_request
from zerotrust_kerberos.failures import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1:4711"
SECRET = "never+to/be/seen"
BODY = wire.credentials_body(
    access_key_id="ASIAFUZZFUZZFUZZFUZZ", secret_access_key=SECRET, session_token="token", account="111122223333",
    expiration="2037-01-01T00:00:00Z", role_arn="arn:aws:iam::111122223333:role/Developer",
)  # fmt: skip


async def _credentials() -> bytes:
    return BODY


ENDPOINT = Endpoint(
    role="developer", credentials=_credentials, place=Place(["serve"]), host=HOST, has_imds=True,
    is_neighbour=lambda _connection: True, now=lambda: 0.0, told=lambda _line: None,
)  # fmt: skip
# What a mutator finds: one that has to be guessed would never be reached.
ENDPOINT.token = "token"
ENDS = "ffff"
IMDS = f"{ENDS}.{ENDPOINT._mac(ENDS)}"
ROLES = "/latest/meta-data/iam/security-credentials/"


def request(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {HOST}", *headers, "", ""]).encode()


def seeds() -> Iterator[bytes]:
    yield request("GET", f"{CONTAINER_PATH}developer", "Authorization: token")
    yield request("GET", f"{CONTAINER_PATH}developer", "Authorization: tok")
    yield request("GET", f"{CONTAINER_PATH}developer", "Authorization: token", "Origin: null")
    yield request("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600", "Content-Length: 0")
    yield request("GET", ROLES, f"X-aws-ec2-metadata-token: {IMDS}")
    yield request("GET", f"{ROLES}developer", f"X-aws-ec2-metadata-token: {IMDS}")
    yield request("POST", wire.CREDENTIALS_PATH, "Content-Length: 2") + b"{}"
    yield request("POST", "/", "Transfer-Encoding: chunked") + b"0\r\n\r\n"


def one_input(data: bytes) -> None:
    asyncio.run(_judged(data))


async def _judged(data: bytes) -> None:
    reader = asyncio.StreamReader(limit=HEAD_MAX)
    reader.feed_data(data)
    reader.feed_eof()
    try:
        asked = await read_request(reader)
    except (Malformed, asyncio.IncompleteReadError):
        return
    reply = await ENDPOINT.answer(asked)
    said = reply.encoded()
    assert said.count(b"\r\n\r\n") >= 1
    if SECRET.encode() in said:
        assert reply.status == 200
        assert asked.method == "GET"
        assert asked.headers["host"] == HOST
        by_token = asked.path == f"{CONTAINER_PATH}developer" and asked.headers.get("authorization") == "token"
        by_imds = asked.path == f"{ROLES}developer" and asked.headers.get("x-aws-ec2-metadata-token") == IMDS
        assert by_token or by_imds
        assert not {"origin", "referer", "x-forwarded-for", "sec-fetch-site"} & set(asked.headers)
