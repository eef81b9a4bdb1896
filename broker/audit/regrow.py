"""The tree over an instance's records, grown anew from where a checkpoint left it: a start reads only what was written since."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from broker.audit.chain import BrokenRecord, position_of
from broker.audit.reading import lines
from broker.audit.tree import LOST, Frontier, leaf_hash, node_hash


def regrown(tree: Frontier, paths: Sequence[Path], *, size: int) -> Frontier:
    """The tree of ``size`` records, from an earlier one and the files that hold those behind it, taken at their word.

    A record that is in none of the files has the leaf ``LOST``: the log goes on, and `audit verify` names the record.

    Raises:
        OSError: A file cannot be read.
    """
    begins = sorted((first, path) for path in paths if (first := _first_number(path)) is not None)
    for place, (first, path) in enumerate(begins):
        # All of it is in the tree already where the next file begins with what the tree knows.
        if place + 1 < len(begins) and begins[place + 1][0] <= tree.size + 1:
            continue
        for number, line in enumerate(lines(path), first):
            if tree.size < number <= size and line.endswith(b"\n"):
                tree = _with_lost(tree, number - 1).with_leaf(leaf_hash(line[:-1]))
    return _with_lost(tree, size)


def _with_lost(tree: Frontier, size: int) -> Frontier:
    """In steps as large as they may be: how many are lost is a number in a file, and anybody's."""
    perfect = [LOST]
    while tree.size < size:
        height = ((tree.size & -tree.size) or size).bit_length() - 1
        height = min(height, (size - tree.size).bit_length() - 1)
        while len(perfect) <= height:
            perfect.append(node_hash(perfect[-1], perfect[-1]))
        tree = tree.with_subtree(perfect[height], height=height)
    return tree


def _first_number(path: Path) -> int | None:
    try:
        return position_of(next(lines(path), b"").rstrip(b"\n")).head.seq
    except BrokenRecord:
        return None
