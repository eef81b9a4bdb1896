"""DER as a tree that can be changed and written down again with lengths that fit.

Whoever changes single bytes of a token hardly ever makes another one that is whole: each element tells its length and those of
all around it. So elements are doubled, moved, dropped and renamed here. Written without a look at the product's own reader,
so that it can contradict it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

_CONSTRUCTED = 0x20
_OCTET_STRING = 0x04
_LONG_FORM = 0x80
# What stands behind the mechanism's OID and before the message: an AP-REQ or a KRB-ERROR (RFC 4121, RFC 1964).
_TOKEN_IDS = (b"\x01\x00", b"\x03\x00")
_TAGS = (0x02, 0x04, 0x06, 0x1B, 0x30, 0x60, 0x6E, 0x7E, *range(0xA0, 0xA6))


class NotWhole(ValueError):
    """No element, or one that is longer than what is there."""


@dataclass
class Node:
    """An element with what it consists of, or with bytes; without a tag it is bytes that stand between elements."""

    tag: int | None
    content: bytes = b""
    children: list[Node] = field(default_factory=list)

    def __bytes__(self) -> bytes:
        content = b"".join(map(bytes, self.children)) if self.children else self.content
        return content if self.tag is None else bytes([self.tag]) + _length(len(content)) + content

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()


def split(data: bytes) -> tuple[int, bytes, bytes]:
    """The first element's tag and content, and what stands behind it."""
    if len(data) < 2:
        raise NotWhole("too short")
    begin, length = 2, data[1]
    if length >= _LONG_FORM:
        begin += length - _LONG_FORM
        length = int.from_bytes(data[2:begin], "big")
    if len(data) < begin + length:
        raise NotWhole("cut short")
    return data[0], data[begin : begin + length], data[begin + length :]


def elements(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        tag, content, data = split(data)
        found.append((tag, content))
    return found


def parse(data: bytes) -> list[Node]:
    nodes = []
    while data:
        if data[:2] in _TOKEN_IDS:
            nodes.append(Node(None, data[:2]))
            data = data[2:]
            continue
        tag, content, data = split(data)
        nodes.append(Node(tag, content, _inside(tag, content)))
    return nodes


def mutated(data: bytes, chance: random.Random) -> bytes:
    """With one element changed; as it was where it is no DER."""
    try:
        root = Node(None, children=parse(data))
    except (NotWhole, RecursionError):
        return data
    parents = [node for node in root.walk() if node.children]
    if not parents:
        return data
    parent = chance.choice(parents)
    place = chance.randrange(len(parent.children))
    child = parent.children[place]
    others = list(root.walk())[1:]
    match chance.randrange(6):
        case 0:
            parent.children.insert(place, child)
        case 1:
            parent.children.insert(place, chance.choice(others))
        case 2:
            del parent.children[place]
        case 3:
            chance.shuffle(parent.children)
        case 4:
            parent.children[place] = Node(chance.choice(_TAGS), child.content, child.children)
        case _:
            parent.children[place] = Node(child.tag, chance.randbytes(chance.randrange(1, 8)))
    return _bytes_of(root)


def _bytes_of(root: Node) -> bytes:
    try:
        return bytes(root)
    except RecursionError:  # an element was put into itself
        return b""


def _inside(tag: int, content: bytes) -> list[Node]:
    # SPNEGO carries the token of the mechanism in an octet string.
    if not tag & _CONSTRUCTED and not (tag == _OCTET_STRING and content[:1] == b"\x60"):
        return []
    try:
        return parse(content)
    except NotWhole:
        return []


def _length(length: int) -> bytes:
    if length < _LONG_FORM:
        return bytes([length])
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([_LONG_FORM | len(digits)]) + digits
