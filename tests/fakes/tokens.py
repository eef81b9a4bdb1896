"""Other ways to write down one and the same token: bytes that change while the Kerberos message inside stays what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broker.authn import der, spnego

if TYPE_CHECKING:
    from collections.abc import Iterator

_APPLICATION_0 = 0x60
_AP_REQ_ID = b"\x01\x00"


class Header(NamedTuple):
    """An element that encloses the authenticator: where it begins, where its content does, and where it ends."""

    begin: int
    content: int
    end: int


def authenticator_span(token: bytes) -> range:
    """Where the authenticator's ciphertext lies."""
    ciphertext = spnego.authenticator(spnego.UnverifiedToken(token))
    begin = token.index(ciphertext)
    return range(begin, begin + len(ciphertext))


def unwrapped(token: bytes) -> bytes:
    """The Kerberos token inside a SPNEGO one, as a client without SPNEGO sends it."""
    for header in headers(token)[1:]:
        if token[header.begin] == _APPLICATION_0:
            return token[header.begin : header.end]
    raise ValueError("no Kerberos token inside")


def headers(token: bytes) -> list[Header]:
    """The elements around the authenticator, the outermost first."""
    target, at, found = authenticator_span(token).start, 0, []
    while not found or found[-1].content != target:
        tag, content, end = der.read(token, at)
        if end <= target:
            at = end
            continue
        inside = end - len(content)
        found.append(Header(at, inside, end))
        at = inside
        if tag == _APPLICATION_0:
            _, _, at = der.read(token, inside)
            at += len(_AP_REQ_ID) if token[at : at + 2] == _AP_REQ_ID else 0
    return found


def stretched(token: bytes) -> Iterator[bytes]:
    """The token with the length of one enclosing element written in more bytes than DER allows, for each element."""
    around = headers(token)
    for chosen in range(len(around)):
        span = authenticator_span(token)
        inner, inner_header = token[span.start : span.stop], Header(span.start, span.start, span.stop)
        for place in range(len(around) - 1, -1, -1):
            header = around[place]
            content = token[header.content : inner_header.begin] + inner + token[inner_header.end : header.end]
            length = len(content).to_bytes(3, "big")
            # 0x83 announces three bytes of length, the shortest form is what DER asks for (X.690 section 10.1).
            written = b"\x83" + length if place == chosen else _minimal(len(content))
            inner, inner_header = token[header.begin : header.begin + 1] + written + content, header
        yield inner


def _minimal(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(digits)]) + digits
