"""Checkpoints: signed statements of where an instance's log stands, as notes (c2sp.org/tlog-checkpoint).

They find what neither chain nor tree can alone: a tail that was cut off. The text is

    zerotrust.audit/INSTANCE        the origin; the signer has the same name
    SIZE                            how many records
    ROOT                            the root of the tree over them, in base64
    head DIGEST                     the hash of the last record's line, in hex
    time TIMESTAMP                  when it was stated
    frontier NODE NODE ...          the tree's perfect subtrees, so that a restart goes on from here
    quiet                           only where nothing but neighbours' checkpoints was recorded since the one before

and the last three are for ourselves: whoever checks proofs needs the first three. Pure; no file, no clock.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from broker.audit.chain import BrokenRecord, Head
from broker.audit.note import BadNote, Ed25519NoteVerifier, NoteSigner, is_signature_line, open_note, seal_note
from broker.audit.tree import Frontier
from broker.keys.signing import KeySet

_ORIGIN = "zerotrust.audit/"
_DASH = "— ".encode()
_SIGNATURE_BEGUN = re.compile(r"— [^\s+]+ ?[A-Za-z0-9+/]*={0,2}")
_NODE = r"[A-Za-z0-9+/]{43}="
_TEXT = re.compile(
    rf"{re.escape(_ORIGIN)}(?P<instance>[A-Za-z0-9._-]{{1,128}})\n(?P<size>0|[1-9][0-9]{{0,15}})\n(?P<root>{_NODE})\n"
    rf"head (?P<head>[0-9a-f]{{64}})\ntime (?P<time>[0-9TZ:.+-]{{1,40}})\n"
    rf"frontier(?P<frontier>(?: {_NODE})*)\n(?P<quiet>quiet\n)?"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An instance, its chain's head, the tree over the same records, and when (RFC 3339).

    ``quiet`` says that nothing but other instances' checkpoints was recorded since the one before: nobody needs to record it in
    turn, or two idle instances would do so for ever.
    """

    instance: str
    head: Head
    tree: Frontier
    timestamp: str
    quiet: bool = False

    @property
    def size(self) -> int:
        """How many records it covers."""
        return self.tree.size

    @property
    def root(self) -> str:
        """The root of the tree over them, in base64."""
        return root_text(self.tree)


def root_text(tree: Frontier) -> str:
    """A tree's root in base64, as notes have it."""
    return base64.b64encode(tree.root()).decode()


def origin_of(instance: str) -> str:
    """What an instance's log is called in notes, and its key."""
    return f"{_ORIGIN}{instance}"


def verifiers_of(instance: str, *, keys: KeySet) -> list[Ed25519NoteVerifier]:
    """Those who can vouch for an instance's checkpoints."""
    return [Ed25519NoteVerifier(name=origin_of(instance), public=public) for public in keys.ed25519()]


def seal_checkpoint(checkpoint: Checkpoint, *, signers: Sequence[NoteSigner]) -> str:
    """The note."""
    return seal_note(_text(checkpoint), signers=signers)


def open_checkpoint(note: str, *, keys: KeySet) -> Checkpoint:
    """The checkpoint that a note states, vouched for by a key of the set under the instance's own name.

    Raises:
        BrokenRecord: Not a checkpoint, damaged, or signed by nobody who is known.
    """
    checkpoint = read_checkpoint(note)
    try:
        open_note(note, verifiers=verifiers_of(checkpoint.instance, keys=keys))
    except BadNote as error:
        raise BrokenRecord(f"a checkpoint is damaged: {error}") from error
    return checkpoint


def read_checkpoint(note: str) -> Checkpoint:
    """The checkpoint that a note states, taken at its word: no signature is checked.

    Raises:
        BrokenRecord: It is none, or contradicts itself.
    """
    text = note.partition("\n\n")[0] + "\n"
    found = _TEXT.fullmatch(text)
    if not found:
        raise BrokenRecord("a checkpoint is damaged: not the text of one")
    try:
        nodes = tuple(base64.b64decode(node) for node in found["frontier"].split())
        tree = Frontier.stated(int(found["size"]), nodes)
    except ValueError as error:
        raise BrokenRecord(f"a checkpoint is damaged: {error}") from error
    checkpoint = Checkpoint(
        instance=found["instance"],
        head=Head(seq=tree.size, digest=found["head"]),
        tree=tree,
        timestamp=found["time"],
        quiet=found["quiet"] is not None,
    )
    if _text(checkpoint) != text or checkpoint.root != found["root"]:
        raise BrokenRecord("a checkpoint is damaged: it contradicts itself")
    return checkpoint


def is_cut_short(data: bytes, *, instance: str) -> bool:
    """Whether bytes are the beginning of a note of this instance, as a kill in the middle of a write leaves it."""
    text, blank, signatures = data.partition(b"\n\n")
    *whole, last = (line.decode("utf-8", "replace") for line in (signatures if blank else text).split(b"\n"))
    if blank:
        begun = _DASH.startswith(signatures.rpartition(b"\n")[2]) or bool(_SIGNATURE_BEGUN.fullmatch(last))
        return bool(
            _TEXT.fullmatch(f"{text.decode('utf-8', 'replace')}\n") and begun and all(map(is_signature_line, whole))
        )
    begun = bool(re.fullmatch(r"[ -~]*", last)) if whole else origin_of(instance).startswith(last)
    shapes = [
        re.escape(origin_of(instance)),
        r"\d+",
        _NODE,
        "head [0-9a-f]{64}",
        "time .+",
        f"frontier( {_NODE})*",
        "quiet",
    ]
    return begun and len(whole) <= len(shapes) and all(map(re.fullmatch, shapes, whole))


def _text(checkpoint: Checkpoint) -> str:
    frontier = "".join(f" {base64.b64encode(node).decode()}" for node in checkpoint.tree.nodes)
    quiet = "quiet\n" if checkpoint.quiet else ""
    return (
        f"{origin_of(checkpoint.instance)}\n{checkpoint.size}\n{checkpoint.root}\n"
        f"head {checkpoint.head.digest}\ntime {checkpoint.timestamp}\nfrontier{frontier}\n{quiet}"
    )
