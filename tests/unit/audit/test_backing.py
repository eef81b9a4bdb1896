"""Who else signed a checkpoint, and what a checkpoint says that was kept elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.audit.cosignature import Cosigner
from broker.audit.signer import jwks_of, signer_of
from broker.audit.verify import Report, verify
from broker.keys.signing import Ed25519Signer
from tests.fakes.audit import MASTER, Directory, Log

COSIGNER = Cosigner(name="witness.example.com/w1", signer=Ed25519Signer(seed=b"w" * 32))
OTHER = Cosigner(name="witness.example.com/w2", signer=Ed25519Signer(seed=b"o" * 32))


def cosigned(log: Log, by: Cosigner = COSIGNER, *, moment: int = 1_700_000_000) -> Log:
    note = log.checkpoints[-1]
    log.checkpoints[-1] += by.cosign(note.partition("\n\n")[0] + "\n", moment=moment)
    return log


def verified(directory: Directory, *cosigners: Cosigner, elsewhere: tuple[Path, ...] = ()) -> Report:
    jwks = jwks_of(signer_of(MASTER))
    return verify([directory.path], jwks=jwks, witnesses=[each.key for each in cosigners], elsewhere=elsewhere)


def test_each_witness_that_is_asked_for_must_have_signed(directory: Directory) -> None:
    directory.put(cosigned(Log().add(4).checkpoint()).add(3).checkpoint())
    assert verified(directory).findings == []
    report = verified(directory, COSIGNER)
    assert report.findings == []
    assert "3 records behind the last checkpoint that witness.example.com/w1 signed" in report.remarks[0]
    (finding,) = verified(directory, COSIGNER, OTHER).findings
    assert "no checkpoint has a signature of the witness witness.example.com/w2" in finding.fault


def test_a_cosignature_that_was_bent_or_moved_to_another_checkpoint_is_found(directory: Directory) -> None:
    log = cosigned(Log().add(4).checkpoint())
    line = log.checkpoints[0].rpartition("— ")[2]
    log.add(3).checkpoint()
    log.checkpoints[1] += f"— {line}"
    directory.put(log)
    assert verified(directory).findings == [], "nobody asked for that witness"
    (finding,) = verified(directory, COSIGNER).findings
    assert (
        "checkpoint 2: a checkpoint is damaged: witness.example.com/w1: the signature does not match" in finding.fault
    )


def test_the_log_must_go_on_from_a_checkpoint_that_was_kept_elsewhere(directory: Directory, tmp_path: Path) -> None:
    kept = tmp_path / "kept.note"
    log = Log().add(7).checkpoint()
    kept.write_text(log.checkpoints[0])
    directory.put(log.add(3).checkpoint())
    assert verified(directory, elsewhere=(kept,)).findings == []
    directory.put(Log().add(4).checkpoint())
    (cut,) = verified(directory, elsewhere=(kept,)).findings
    assert (cut.seq, "says that 7 records were written" in cut.fault) == (5, True)
    directory.put(Log().add(6).add(4, success=False).checkpoint())
    (other,) = verified(directory, elsewhere=(kept,)).findings
    assert (other.seq, "saw here" in other.fault) == (7, True)


@pytest.mark.parametrize("signer", [signer_of(b"x" * 32), None])
def test_a_checkpoint_from_elsewhere_that_nobody_known_signed_or_whose_log_is_missing_is_found(
    directory: Directory, tmp_path: Path, signer: Ed25519Signer | None
) -> None:
    directory.put(Log().add(4).checkpoint())
    log = Log(signer=signer) if signer else Log(instance="host-9")
    kept = tmp_path / "kept.note"
    kept.write_text(log.add(2).checkpoint().checkpoints[0])
    (finding,) = verified(directory, elsewhere=(kept,)).findings
    assert ("no key that is known" if signer else "of host-9: its log is missing") in finding.fault


def test_a_witness_s_word_is_enough_for_a_checkpoint_from_elsewhere(directory: Directory, tmp_path: Path) -> None:
    """Whose log's key is not known any more: what a witness signed is what it saw, whoever wrote it."""
    kept = tmp_path / "kept.note"
    log = cosigned(Log(signer=signer_of(b"x" * 32)).add(4).checkpoint())
    kept.write_text(log.checkpoints[0])
    directory.put(Log().add(4).checkpoint())
    (finding,) = verified(directory, elsewhere=(kept,)).findings
    assert "no key that is known" in finding.fault
    assert any("saw here" in finding.fault for finding in verified(directory, COSIGNER, elsewhere=(kept,)).findings)


def test_what_is_no_checkpoint_is_found(directory: Directory, tmp_path: Path) -> None:
    directory.put(Log().add(4).checkpoint())
    kept = tmp_path / "kept.note"
    kept.write_bytes(b"\xff garbage")
    (finding,) = verified(directory, elsewhere=(kept,)).findings
    assert "a checkpoint is damaged" in finding.fault
