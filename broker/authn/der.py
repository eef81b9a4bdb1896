"""Reads DER (X.690) as far as Kerberos tokens need it: definite lengths, bounded, nothing believed.

Works on bytes that an attacker wrote, so the only exception that leaves is ``Malformed``.
"""

from __future__ import annotations

from collections.abc import Iterator

_LONG_FORM = 0x80
_MULTI_BYTE_TAG = 0x1F
# Three length bytes are 16 MiB, far beyond any token that fits into a header.
_LENGTH_BYTES_MAX = 3


class Malformed(ValueError):
    """Not DER, or not the structure that was expected."""


def read(data: bytes, start: int = 0) -> tuple[int, bytes, int]:
    """One element: its tag byte, its content, and where the next begins.

    Raises:
        Malformed: Cut short, indefinite length, or a tag of several bytes.
    """
    try:
        tag, length = data[start : start + 2]
    except ValueError as error:
        raise Malformed("no element here") from error
    if tag & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:
        raise Malformed("no element here")
    begin = start + 2
    if length >= _LONG_FORM:
        count = length - _LONG_FORM
        if not 0 < count <= _LENGTH_BYTES_MAX or begin + count > len(data):
            raise Malformed("unusable length")
        length, begin = int.from_bytes(data[begin : begin + count], "big"), begin + count
    end = begin + length
    if end > len(data):
        raise Malformed("cut short")
    return tag, data[begin:end], end


def children(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements that a constructed one consists of.

    Raises:
        Malformed: As ``read``.
    """
    offset = 0
    while offset < len(content):
        tag, value, offset = read(content, offset)
        yield tag, value


def child(content: bytes, tag: int) -> bytes:
    """The content of the first child with this tag.

    Raises:
        Malformed: There is none.
    """
    for found, value in children(content):
        if found == tag:
            return value
    raise Malformed(f"no element {tag:#x}")


def sequence(content: bytes, *, required: frozenset[int], optional: frozenset[int] = frozenset()) -> dict[int, bytes]:
    """The members of a SEQUENCE by tag, in ascending order of tags, each at most once, none unknown.

    Strict on purpose: where two readers could disagree about which element is meant, there is no answer.

    Raises:
        Malformed: A member missing, repeated, out of order or unknown.
    """
    found: dict[int, bytes] = {}
    last, offset, size = -1, 0, len(content)
    while offset < size:
        tag, value, offset = read(content, offset)
        if tag <= last or (tag not in required and tag not in optional):
            raise Malformed(f"element {tag:#x} does not belong here")
        found[tag] = value
        last = tag
    if not found.keys() >= required:
        raise Malformed("an element is missing")
    return found


def only(data: bytes, tag: int) -> bytes:
    """The content of an element that is all there is.

    Raises:
        Malformed: Another tag, or something behind it.
    """
    found, content, end = read(data)
    if found != tag or end != len(data):
        raise Malformed(f"expected one element {tag:#x} and nothing behind it")
    return content
