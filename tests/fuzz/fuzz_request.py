"""The body of a request for credentials: one role name, or a sentence for the client that repeats nothing of what was sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from broker import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

sentences: set[str] = set()
# There are nine of them. A text of the client's in one would soon make it many.
SENTENCES_MAX = 20


def seeds() -> Iterator[bytes]:
    yield b'{"role": "developer"}'
    yield b'{"role": "developer", "duration": 43200}'
    yield b'{"role": "a", "role": "b"}'
    yield b'{"role": "\\ud800"}'
    yield b"[" * 2000
    yield '{"role": "d\u0435veloper"}'.encode()
    yield b'{"role": 1e999}'
    yield '{"role": "developer"}'.encode("utf-16")


def one_input(data: bytes) -> None:
    try:
        request = wire.parse_credentials_request(data)
    except ValueError as error:
        assert type(error) is ValueError
        sentences.add(str(error))
        assert len(sentences) <= SENTENCES_MAX, sentences
        return
    assert json.loads(data) == {"role": request.role}
    assert 1 <= len(request.role) <= wire.ROLE_LENGTH_MAX
    assert request.role.isascii()
    assert request.role.isprintable()
