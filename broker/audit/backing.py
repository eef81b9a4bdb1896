"""Who else stands behind a log's checkpoints than the broker's own key: an HSM, and witnesses.

The broker's own key lies where the broker runs; whoever takes it can write the log anew from any record on, and all checkpoints
behind that record. They cannot make the HSM's line, nor a witness's. A checkpoint without the HSM's line is what an HSM that is
away leaves, and also what a forger does; only a later one that has the line, and covers the same records, tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from broker.audit.chain import BrokenRecord
from broker.audit.checkpoint import Checkpoint, origin_of, read_checkpoint, verifiers_of
from broker.audit.cosignature import WitnessKey
from broker.audit.note import BadNote, NoteVerifier, open_note, split_note
from broker.audit.statement import hsm_verifiers
from broker.keys.signing import BadSignature, KeySet


class Backing:
    """Of one instance's checkpoints. ``see`` each; then ask for what was found."""

    def __init__(self, instance: str, *, keys: KeySet, witnesses: Sequence[WitnessKey]) -> None:
        self._hsm = hsm_verifiers(origin_of(instance), keys=keys)
        self._by_hsm = -1
        self._without_hsm = -1
        self._gaps = 0
        self._by_witness: dict[WitnessKey, int] = dict.fromkeys(witnesses, -1)

    def see(self, note: str, *, size: int) -> None:
        """Look at the lines under a checkpoint that states ``size`` records.

        Raises:
            BrokenRecord: One of somebody who is known is wrong.
        """
        by_hsm = [_signed(note, by=key) for key in self._hsm]
        if any(by_hsm):
            self._by_hsm = max(self._by_hsm, size)
        elif self._hsm:
            self._gaps += self._by_hsm >= 0
            self._without_hsm = max(self._without_hsm, size)
        for key, reached in self._by_witness.items():
            if _signed(note, by=key):
                self._by_witness[key] = max(reached, size)

    def faults(self) -> list[str]:
        """What is missing."""
        found = []
        if self._hsm and self._without_hsm > self._by_hsm:
            behind = f"behind record {self._by_hsm}" if self._by_hsm >= 0 else "at all"
            found.append(
                f"the HSM signed no checkpoint {behind}: those up to record {self._without_hsm} are the broker's own word, and "
                "good only once a later one has the HSM's line"
            )
        found += [
            f"no checkpoint has a signature of the witness {key.name}"
            for key, reached in self._by_witness.items()
            if reached < 0
        ]
        return found

    def remarks(self, *, records: int) -> list[str]:
        """What the reader should know of a log of so many records."""
        said = {key.name: reached for key, reached in self._by_witness.items() if reached >= 0}
        if self._hsm and self._by_hsm >= self._without_hsm:
            said["the HSM"] = self._by_hsm
        found = [
            f"{records - reached} records behind the last checkpoint that {name} signed"
            for name, reached in said.items()
            if records > reached
        ]
        if self._gaps and self._by_hsm >= self._without_hsm:
            found.append(f"{self._gaps} checkpoints were made without the HSM; a later one with it covers them")
        return found


def elsewhere(path: Path) -> Checkpoint:
    """The checkpoint in a file that was kept elsewhere, taken at its word.

    Raises:
        BrokenRecord: It is none.
        OSError: It cannot be read.
    """
    return read_checkpoint(path.read_bytes().decode("utf-8", "replace"))


def require_vouched(path: Path, checkpoint: Checkpoint, *, keys: KeySet, witnesses: Sequence[WitnessKey]) -> None:
    """Check that the log's own keys or a witness signed a checkpoint that was kept elsewhere.

    Raises:
        BrokenRecord: None of them did.
        OSError: It cannot be read.
    """
    try:
        note = path.read_bytes().decode("utf-8", "replace")
        open_note(note, verifiers=[*verifiers_of(checkpoint.instance, keys=keys), *witnesses])
    except BadNote as error:
        raise BrokenRecord(f"a checkpoint is damaged: {error}") from error


def _signed(note: str, *, by: NoteVerifier) -> bool:
    text, signatures = split_note(note)
    found = False
    for each in signatures:
        if (each.name, each.key_id) == (by.name, by.key_id):
            try:
                by.verify(text.encode(), each.value)
            except BadSignature as error:
                raise BrokenRecord(f"a checkpoint is damaged: {by.name}: {error}") from error
            found = True
    return found
