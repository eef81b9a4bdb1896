"""The tree of RFC 9162: its published vectors, and every proof of it against the definition written down plainly."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.tree import (
    BadProof,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    roots_of,
)

# The vectors of the Certificate Transparency reference implementation: eight leaves, the root of each size, and proofs.
RECORDS = [
    bytes.fromhex(text)
    for text in (
        *("", "00", "10", "2021", "3031", "40414243"),
        *("5051525354555657", "606162636465666768696a6b6c6d6e6f"),
    )
]
LEAVES = [leaf_hash(record) for record in RECORDS]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
INCLUSION = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
}
CONSISTENCY = {
    (1, 8): INCLUSION[0, 8],
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}


def grown(leaves: list[bytes]) -> Frontier:
    tree = Frontier()
    for leaf in leaves:
        tree = tree.with_leaf(leaf)
    return tree


def defined(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1.1, as it stands there."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    middle = max(1 << bit for bit in range(len(leaves).bit_length()) if 1 << bit < len(leaves))
    return node_hash(defined(leaves[:middle]), defined(leaves[middle:]))


def some(number: int) -> list[bytes]:
    return [leaf_hash(str(each).encode()) for each in range(number)]


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots(size: int) -> None:
    assert grown(LEAVES[:size]).root() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_the_published_inclusion_proofs(index: int, size: int) -> None:
    proof = roots_of(inclusion_ranges(index, size), LEAVES)
    assert [node.hex() for node in proof] == list(INCLUSION[index, size])
    check_inclusion(proof, leaf=LEAVES[index], index=index, size=size, root=ROOTS[size])


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_the_published_consistency_proofs(old: int, new: int) -> None:
    proof = consistency_proof(grown(LEAVES[:old]), LEAVES[old:new], size=new)
    assert [node.hex() for node in proof] == list(CONSISTENCY[old, new])
    check_consistency(proof, old_size=old, old_root=ROOTS[old], new_size=new, new_root=ROOTS[new])


@given(st.integers(0, 300))
def test_the_frontier_has_the_root_that_the_definition_gives_and_stays_small(size: int) -> None:
    tree = grown(some(size))
    assert tree.root() == defined(some(size))
    assert len(tree.nodes) == size.bit_count()
    assert [defined(some(size)[start:end]) for start, end in tree.ranges()] == list(tree.nodes)


@given(st.data())
def test_every_record_of_every_tree_is_proved_and_proves_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 200))
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    leaves = some(size)
    root, proof = defined(leaves), roots_of(inclusion_ranges(index, size), leaves)
    check_inclusion(proof, leaf=leaves[index], index=index, size=size, root=root)
    wrong = [(leaf_hash(b"another"), index, proof), (leaves[index], index, [*proof, root])]
    wrong += [(leaves[index], other, proof)] if other != index else []
    wrong += [(leaves[index], index, proof[:-1]), (leaves[index], index, [root, *proof[1:]])] if proof else []
    for leaf, at, bent in wrong:
        with pytest.raises(BadProof):
            check_inclusion(bent, leaf=leaf, index=at, size=size, root=root)


@given(st.data())
def test_growth_is_proved_by_the_old_frontier_and_the_leaves_since_and_nothing_else_is(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 200))
    old = data.draw(st.integers(1, new))
    leaves = some(new)
    proof = consistency_proof(grown(leaves[:old]), leaves[old:], size=new)
    assert proof == roots_of(consistency_ranges(old, new), leaves)
    roots = {"old_root": defined(leaves[:old]), "new_root": defined(leaves)}
    check_consistency(proof, old_size=old, new_size=new, **roots)
    other = defined([leaf_hash(b"another"), *leaves[1:old]])
    for bent, sizes, believed in [
        (proof, (old, new), roots | {"old_root": other}),
        (proof, (old, new), roots | {"new_root": other}),
        ([*proof, other], (old, new), roots),
        (proof[:-1] if proof else [other], (old, new), roots),
        (proof, (new + 1, new), roots),
    ]:
        with pytest.raises(BadProof):
            check_consistency(bent, old_size=sizes[0], new_size=sizes[1], **believed)


def test_there_is_no_proof_where_there_is_nothing_to_prove() -> None:
    for ranges in (lambda: inclusion_ranges(3, 3), lambda: consistency_ranges(0, 3), lambda: consistency_ranges(4, 3)):
        with pytest.raises(ValueError, match="a tree of"):
            ranges()
    with pytest.raises(ValueError, match="fewer than 8"):
        roots_of(inclusion_ranges(0, 8), LEAVES[:7])


@pytest.mark.parametrize(
    ("size", "nodes"), [(1, ()), (2, (bytes(32), bytes(32))), (-1, ()), (1, (bytes(31),)), (0, (bytes(32),))]
)
def test_a_frontier_that_is_none_is_not_made(size: int, nodes: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match=r"a tree of|a node has"):
        Frontier.stated(size, nodes)


def test_a_node_is_never_taken_for_a_record() -> None:
    """RFC 9162, section 2.1.1: without the first byte, two hashes in a record would be a node."""
    record = LEAVES[0] + LEAVES[1]
    assert leaf_hash(record) != node_hash(LEAVES[0], LEAVES[1])
    assert base64.b64encode(leaf_hash(b"")) == b"bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0="
