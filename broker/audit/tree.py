"""The Merkle tree over the records of one instance: RFC 9162, section 2.1, which is RFC 6962's. Pure; no file, no clock.

A leaf is a record's line without its line feed. Appending and the root need no more than the *frontier*, the roots of the
perfect subtrees that the leaves so far make: at most one for each bit of their number. A proof is a list of roots of ranges
of leaves; whoever reads a log once, from its beginning to its end, makes it in one pass and without holding the tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

HASH_BYTES = 32

# The first leaf of a range and the first behind it, counted from 0.
Range: TypeAlias = tuple[int, int]


class BadProof(ValueError):
    """The proof does not show what it should."""


def leaf_hash(record: bytes) -> bytes:
    """The leaf for a record's line, less its line feed (RFC 9162, section 2.1.1)."""
    return hashlib.sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node over two nodes (RFC 9162, section 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


# Stands where a record was lost before its leaf was known. No bytes hash to it, so nothing that is found later takes the place.
LOST = bytes(HASH_BYTES)


class Frontier(NamedTuple):
    """A tree of ``size`` leaves by the roots of its perfect subtrees, from left to right, the largest first."""

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    @classmethod
    def stated(cls, size: int, nodes: tuple[bytes, ...]) -> Frontier:
        """One that somebody else states.

        Raises:
            ValueError: The nodes are not as many as the size has bits, or are no hashes.
        """
        if size < 0 or len(nodes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} perfect subtrees")
        if any(len(node) != HASH_BYTES for node in nodes):
            raise ValueError(f"a node has {HASH_BYTES} bytes")
        return cls(size, nodes)

    def with_leaf(self, leaf: bytes) -> Frontier:
        """The tree with one more leaf, given as ``leaf_hash`` makes it."""
        return self.with_subtree(leaf, height=0)

    def with_subtree(self, root: bytes, *, height: int) -> Frontier:
        """The tree with ``2**height`` more leaves, given by their root; its size is a multiple of so many."""
        nodes, bits, node = self.nodes, self.size >> height, root
        while bits & 1:
            node = node_hash(nodes[-1], node)
            nodes, bits = nodes[:-1], bits >> 1
        return Frontier(self.size + (1 << height), (*nodes, node))

    def root(self) -> bytes:
        """The root; of no leaves the hash of nothing."""
        if not self.nodes:
            return hashlib.sha256().digest()
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root

    def ranges(self) -> list[Range]:
        """Which leaves each of the nodes stands for."""
        found, start = [], 0
        for bit in reversed(range(self.size.bit_length())):
            if self.size >> bit & 1:
                found.append((start, start + (1 << bit)))
                start += 1 << bit
        return found


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose roots prove that leaf ``index``, from 0, is in a tree of ``size`` (section 2.1.3.1), in their order.

    Raises:
        ValueError: The tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _left(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The ranges whose roots prove that a tree of ``old`` leaves begins one of ``new`` (section 2.1.4.1), in their order.

    Raises:
        ValueError: There is nothing to prove: the old tree is empty or larger.
    """
    if not 0 < old <= new:
        raise ValueError(f"a tree of {old} leaves does not begin one of {new}")
    start, end, path = 0, new, []
    while end != old:
        middle = start + _left(end - start)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    # The old tree's own root is known to whoever asks.
    return ([(start, end)] if start else []) + path[::-1]


def roots_of(ranges: Sequence[Range], leaves: Iterable[bytes], *, first: int = 0) -> list[bytes]:
    """The roots of ranges that do not overlap, in the order in which they are given, from one pass over the leaves.

    Args:
        ranges: Which leaves.
        leaves: Leaf hashes from leaf ``first`` on.
        first: The number of the first of them.

    Raises:
        ValueError: There are fewer leaves.
    """
    rest, at, found = iter(leaves), first, {}
    for start, end in sorted(ranges):
        for _ in islice(rest, start - at):
            pass
        tree = Frontier()
        for leaf in islice(rest, end - start):
            tree = tree.with_leaf(leaf)
        if tree.size != end - start:
            raise ValueError(f"there are fewer than {end} leaves")
        found[start, end] = tree.root()
        at = end
    return [found[each] for each in ranges]


def consistency_proof(old: Frontier, since: Iterable[bytes], *, size: int) -> list[bytes]:
    """Prove that a tree of ``size`` leaves goes on from the old one, by the leaf hashes since then alone.

    Raises:
        ValueError: As for ``consistency_ranges`` and ``roots_of``.
    """
    ranges, known = consistency_ranges(old.size, size), dict(zip(old.ranges(), old.nodes, strict=True))
    later = [each for each in ranges if each not in known]
    known |= zip(later, roots_of(later, since, first=old.size), strict=True)
    return [known[each] for each in ranges]


def check_inclusion(proof: Sequence[bytes], *, leaf: bytes, index: int, size: int, root: bytes) -> None:
    """Check that a leaf is number ``index``, from 0, of a tree (section 2.1.3.2).

    Raises:
        BadProof: It is not shown.
    """
    if not 0 <= index < size:
        raise BadProof(f"a tree of {size} leaves has no leaf {index}")
    node = leaf
    for sibling, left in _climb(proof, index, size - 1):
        node = node_hash(sibling, node) if left else node_hash(node, sibling)
    if node != root:
        raise BadProof("the record is not in the tree that the checkpoint states")


def check_consistency(
    proof: Sequence[bytes], *, old_size: int, old_root: bytes, new_size: int, new_root: bytes
) -> None:
    """Check that the new tree begins with the old one (section 2.1.4.2).

    Raises:
        BadProof: It is not shown.
    """
    if not 0 < old_size <= new_size:
        raise BadProof(f"a tree of {old_size} leaves does not begin one of {new_size}")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise BadProof("two logs of one size have one root and need no proof")
        return
    # Of a perfect old tree the root is left out, since it is known.
    path = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    if not path:
        raise BadProof("the proof is too short")
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for node, left in _climb(path[1:], place, last):
        if left:
            old, new = node_hash(node, old), node_hash(node, new)
        else:
            new = node_hash(new, node)
    if (old, new) != (old_root, new_root):
        raise BadProof("the later log does not go on from the earlier one")


def _climb(path: Sequence[bytes], place: int, last: int) -> Iterator[tuple[bytes, bool]]:
    """Each node of a path and whether it stands to the left, from the node ``place`` of a level with ``last`` as its last one."""
    for node in path:
        if last == 0:
            raise BadProof("the proof is too long")
        left = bool(place & 1) or place == last
        while left and place and not place & 1:
            place, last = place >> 1, last >> 1
        yield node, left
        place, last = place >> 1, last >> 1
    if last != 0:
        raise BadProof("the proof is too short")


def _left(size: int) -> int:
    """The largest power of two below a size of two or more: as many leaves are left of the root's middle."""
    return 1 << (size - 1).bit_length() - 1
