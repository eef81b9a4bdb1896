"""What a request of the benchmark looks like, by ticket and by session."""

from __future__ import annotations

import pytest

from bench.negotiate import asking_broker


@pytest.mark.parametrize(("header", "value"), [("Authorization", b"Negotiate YII="), ("Cookie", b"session=x")])
def test_a_request_shows_who_asks_in_one_header_and_is_the_same_otherwise(header: str, value: bytes) -> None:
    head, _, body = asking_broker(8080, header)(value).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines.pop() == header.encode() + b": " + value
    assert lines == asking_broker(8080)(b"").partition(b"\r\n\r\n")[0].split(b"\r\n")[:-1]
    assert lines[0] == b"POST /v1/credentials HTTP/1.1"
    assert f"Content-Length: {len(body)}".encode() in lines
