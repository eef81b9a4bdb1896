"""The helper's side: whatever a server sends, an answer within limits or a failure of the table, told in one harmless line."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

from broker import wire
from zerotrust_kerberos import ask
from zerotrust_kerberos.exchange import BODY_MAX, Answer, exchange
from zerotrust_kerberos.failures import TABLE, Failure, Place, line

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = Place(["credentials", "developer"])
# Longer lines would be no help to anybody; the longest of ours has 300 characters.
LINE_MAX = 800


def problem(code: str, hint: str, *headers: str) -> bytes:
    body = json.dumps({"code": code, "hint": hint, "request_id": "0123"}).encode()
    lines = ["HTTP/1.1 403 Forbidden", f"Content-Type: {wire.PROBLEM_JSON}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def seeds() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nWWW-Authenticate: Negotiate oRQwEg==\r\nContent-Length: 2\r\n\r\n{}"
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\n\r\n"
    yield b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>"
    yield b"HTTP/1.1 204\r\n\r\n"
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    yield problem("access_denied", "ask \x1b[31mfor [X] \u2014 run: rm -rf /")
    yield problem("rate_limited", "slowly", "Retry-After: 17")
    yield problem("auth_failed", "", "Date: Sun, 01 Mar 2026 12:00:00 GMT")


def one_input(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            answer = exchange(ours, b"GET / HTTP/1.1\r\n\r\n")
        except Failure as failure:
            assert failure.code in {"broker_unreachable", "unexpected_answer"}, failure.code
            judge_line(failure)
            return
    judge(answer)


def judge(answer: Answer) -> None:
    assert 200 <= answer.status <= 599
    assert len(answer.body) <= BODY_MAX
    for name, value in answer.headers:
        assert name == name.strip().lower()
        assert not {"\n", "\0"} & {*name, *value}
    try:
        ask._token_of(answer)
    except Failure as failure:
        assert failure.code == "mutual_auth_failed"
        judge_line(failure)
    refusal = ask._refusal(answer)
    # A server must not have the helper say what only the helper can know.
    assert refusal.code in {*wire.PROBLEM_CODES, "clock_skew", "unexpected_answer", *ask._BY_STATUS.values()}
    judge_line(refusal)


def judge_line(failure: Failure) -> None:
    assert failure.code in TABLE
    said = line(failure, PLACE)
    assert said.isprintable(), said
    assert len(said) <= LINE_MAX, said
    # One code and one command: ours.
    assert said.count("[") == said.count("]") == 1, said
    assert said.count("run:") == 1, said
