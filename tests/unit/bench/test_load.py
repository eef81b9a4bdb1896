"""How the load generator reads answers."""

from __future__ import annotations

import pytest

from bench.load import UnexpectedAnswer, is_whole

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nServer: x\r\n\r\nbody"


@pytest.mark.parametrize("length", range(len(ANSWER)))
def test_an_answer_is_not_whole_before_its_last_byte(length: int) -> None:
    assert not is_whole(ANSWER[:length])


def test_an_answer_is_whole_with_its_last_byte() -> None:
    assert is_whole(ANSWER)


def test_header_names_may_be_written_in_any_case() -> None:
    assert is_whole(b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\n\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ANSWER + b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_anything_but_one_200_of_known_length_is_an_error(answer: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        is_whole(answer)
