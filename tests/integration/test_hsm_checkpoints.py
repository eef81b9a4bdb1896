"""The HSM's line under checkpoints: with it nobody who has only the broker's own key can write the log anew."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from broker.audit.cosignature import Cosigner
from broker.audit.log import AuditLog
from broker.audit.proof import NotProved, check_proof, prove_records
from broker.audit.signer import jwks_of, signer_of
from broker.audit.statement import hsm_line
from broker.audit.verify import Report, verify
from broker.audit.witness import Refused, Witness, request_of
from broker.core.secret import Secret
from broker.keys.es256 import Es256PublicKey
from broker.keys.pkcs11 import HsmKey, Token
from broker.keys.signing import Ed25519Signer
from tests.fakes.audit import MASTER, Directory, Log, SetClock, an_event
from tests.fakes.hsm import KEY, MODULE, PIN, TOKEN, SoftHsm


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    path = tmp_path / "audit"
    path.mkdir(mode=0o750)
    return Directory(path=path, jwks=jwks_of(signer_of(MASTER)))


@pytest.fixture
def softhsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    made = SoftHsm.make(tmp_path / "hsm").make_key()
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.configuration))
    return made


@pytest.fixture
def key(softhsm: SoftHsm) -> HsmKey:
    return HsmKey(token=Token(module=MODULE, label=TOKEN, pin=Secret(PIN)), label=KEY)


@pytest.fixture
def log(directory: Directory, key: HsmKey) -> AuditLog:
    return AuditLog(directory=directory.path, signer=signer_of(MASTER), hsm=key, clock=SetClock(), observers=[])


def public_of(key: HsmKey) -> Es256PublicKey:
    assert key.public is not None
    return key.public


def verified(directory: Directory, key: HsmKey) -> Report:
    return verify([directory.path], jwks=jwks_of(signer_of(MASTER), hsm=public_of(key)))


async def test_checkpoints_carry_the_hsm_s_line_and_verify_asks_for_it(
    directory: Directory, log: AuditLog, key: HsmKey
) -> None:
    told: list[str] = []
    log.tell_of_checkpoints(told.append)
    await log.open()
    await log.record(an_event())
    await log.close()
    report = verified(directory, key)
    assert (report.findings, report.remarks) == ([], [])
    assert len(told) == 2
    assert all(note.count("— zerotrust.audit/") == 2 for note in told)


async def test_without_the_hsm_the_log_goes_on_with_checkpoints_that_count_once_one_with_it_covers_them(
    directory: Directory, log: AuditLog, key: HsmKey, softhsm: SoftHsm
) -> None:
    told: list[str] = []
    log.tell_of_checkpoints(told.append)
    await log.open()
    before = len(told)
    softhsm.take_away()
    await log.record(an_event())
    await log.checkpoint()
    assert await key.ping() is not None
    assert len(told) == before, "a witness would have to refuse it"
    (finding,) = verified(directory, key).findings
    assert "the HSM signed no checkpoint behind record 1" in finding.fault
    size = checkpoints(directory)
    await log.checkpoint()
    assert checkpoints(directory) == size, "nothing happened, and the HSM is still away"
    softhsm.put_back()
    # Nothing happened since, but a checkpoint with the HSM's line is owed.
    await log.checkpoint()
    report = verified(directory, key)
    assert report.findings == []
    assert any("1 checkpoints were made without the HSM" in remark for remark in report.remarks)
    assert len(told) == before + 1
    await log.close()


def checkpoints(directory: Directory) -> int:
    (path,) = directory.path.glob("checkpoints-*.notes")
    return path.read_text().count("\n\nzerotrust.audit/")


def hsm_signed(log: Log, key: HsmKey) -> Log:
    """A checkpoint with the HSM's line, of a log made in memory."""
    log.checkpoint()
    log.checkpoints[-1] += asyncio.run(hsm_line(log.checkpoints[-1], key=key))
    return log


def test_whoever_has_only_the_broker_s_own_key_cannot_write_the_log_anew(directory: Directory, key: HsmKey) -> None:
    honest = hsm_signed(hsm_signed(Log().add(4), key).add(4), key)
    directory.put(honest)
    assert verified(directory, key).findings == []
    forged = Log().add(4)
    forged.checkpoints = honest.checkpoints[:1]
    forged.add(4, success=False).checkpoint()
    directory.put(forged)
    (finding,) = verified(directory, key).findings
    assert "the HSM signed no checkpoint behind record 4" in finding.fault
    forged.checkpoints = [*forged.checkpoints[:1], honest.checkpoints[1]]
    directory.put(forged)
    assert verified(directory, key).findings[0].seq == 8
    forged.checkpoints = [Log().add(8).checkpoint().checkpoints[0]]
    directory.put(forged)
    assert any("no checkpoint at all" in finding.fault for finding in verified(directory, key).findings)


def test_a_line_that_the_hsm_made_under_another_checkpoint_is_found(directory: Directory, key: HsmKey) -> None:
    honest = hsm_signed(Log().add(4), key)
    forged = Log().add(4, success=False).checkpoint()
    stolen = honest.checkpoints[0].rpartition("— ")[2]
    forged.checkpoints[0] += f"— {stolen}"
    directory.put(forged)
    assert any("the signature does not match" in finding.fault for finding in verified(directory, key).findings)


def test_a_log_from_before_the_hsm_is_good_once_the_hsm_signed_behind_it(directory: Directory, key: HsmKey) -> None:
    log = Log().add(3).checkpoint().add(3).checkpoint()
    directory.put(log)
    asyncio.run(key.find())
    assert verified(directory, key).findings
    directory.put(hsm_signed(log.add(), key))
    report = verified(directory, key)
    assert (report.findings, report.remarks) == ([], [])


def test_the_line_is_one_that_other_programs_check(directory: Directory, key: HsmKey) -> None:
    """c2sp.org/signed-note, type 2: the key id is a hash of the SPKI, the signature ECDSA with SHA-256 in DER."""
    note = hsm_signed(Log().add(3), key).checkpoints[0]
    text, _, lines = note.rpartition("\n\n")
    name, value = lines.splitlines()[1].removeprefix("— ").split(" ")
    raw, spki = base64.b64decode(value), public_of(key).spki()
    assert name == "zerotrust.audit/host-1"
    assert raw[:4] == hashlib.sha256(spki).digest()[:4]
    load_der_public_key(spki).verify(raw[4:], (text + "\n").encode(), ec.ECDSA(SHA256()))


def test_a_witness_that_knows_the_hsm_s_key_signs_nothing_without_its_line(
    directory: Directory, key: HsmKey, tmp_path: Path
) -> None:
    log = Log().add(3).checkpoint()
    signed = hsm_signed(Log().add(3), key).checkpoints[0]
    jwks = jwks_of(signer_of(MASTER), hsm=public_of(key))
    cosigner = Cosigner(name="witness.example.com/w1", signer=Ed25519Signer(seed=b"w" * 32))
    witness = Witness(directory=tmp_path / "state", cosigner=cosigner, jwks=lambda: jwks, clock=SetClock())
    with pytest.raises(Refused, match="not signed by the HSM"):
        witness.add(request_of(old=0, proof=[], note=log.checkpoints[0]))
    witness.add(request_of(old=0, proof=[], note=signed))
    witness.close()


def test_a_proof_rests_on_a_checkpoint_that_the_hsm_signed(directory: Directory, key: HsmKey) -> None:
    log = hsm_signed(Log().add(4), key).add(2).checkpoint()
    directory.put(log)
    jwks = jwks_of(signer_of(MASTER), hsm=public_of(key))
    (proof,) = prove_records([directory.path], "3", jwks=jwks)
    assert check_proof(proof, jwks=jwks).size == 4, "the later checkpoint is the broker's own word"
    (plain,) = prove_records([directory.path], "3", jwks=directory.jwks)
    assert check_proof(plain, jwks=directory.jwks).size == 6
    with pytest.raises(NotProved, match="not signed by the HSM"):
        check_proof(plain, jwks=jwks)
