"""A real witness beside a real broker: it signs for what grows, and a log that was written anew with the real key shows."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from broker.audit.chain import Head, link
from broker.audit.checkpoint import Checkpoint, origin_of, seal_checkpoint
from broker.audit.note import Ed25519NoteSigner
from broker.audit.signer import jwks_of, signer_of
from broker.audit.tree import Frontier, leaf_hash
from tests.fakes.broker import BrokerProcess, configuration
from tests.fakes.realm import Realm
from tests.fakes.until import until
from tests.fakes.witness import NAME, WitnessProcess

MASTER = b"k" * 32
KEY_LINE = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n"


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    with WitnessProcess(tmp_path / "witness", jwks_of(signer_of(MASTER))) as running:
        yield running


@pytest.fixture
def broker(realm: Realm, tmp_path: Path, witness: WitnessProcess) -> Iterator[BrokerProcess]:
    key = tmp_path / "encryption_key"
    key.touch(mode=0o600)
    key.write_text(KEY_LINE)
    keytab = realm.keytab(tmp_path / "http.keytab", "HTTP/localhost")
    settings = configuration(tmp_path, keytab=keytab, sts_endpoint="http://127.0.0.1:1")
    settings["audit"]["witnesses"] = [{"url": witness.url, "public_key": witness.key}]
    process = BrokerProcess(tmp_path, settings, env=realm.env)
    yield process
    process.kill()


def run_once(broker: BrokerProcess, witness: WitnessProcess) -> None:
    """Start, let the witness see the log as it is then, stop."""
    before = kept(broker)
    broker.start()
    deadline = time.monotonic() + 20
    while kept(broker) == before:
        assert time.monotonic() < deadline, "no cosigned checkpoint"
        time.sleep(0.02)
    assert witness.size() == len(broker.records())
    assert broker.stop() == 0


def kept(broker: BrokerProcess) -> int:
    """Cosigned checkpoints beside the records."""
    return sum(path.read_text().count(f"\n— {NAME} ") for path in broker.audit_directory.glob("checkpoints-*"))


def verify(broker: BrokerProcess, *more: str) -> subprocess.CompletedProcess[str]:
    return broker.admin("audit", "verify", *more)


def alarms(broker: BrokerProcess, *, seconds: float = 20) -> list[dict[str, Any]]:
    """The records of alarms, when there is one."""
    deadline = time.monotonic() + seconds
    while not (found := [record for record in broker.records() if record["event"] == "alert"]):
        assert time.monotonic() < deadline, "no alarm"
        time.sleep(0.05)
    return found


def readiness(broker: BrokerProcess) -> dict[str, Any]:
    with urllib.request.urlopen(f"{broker.url}/readyz") as answer:  # noqa: S310  # loopback
        return json.load(answer)


def written_anew(broker: BrokerProcess) -> None:
    """What somebody does who has the key and the directory: another history, signed and chained and checkpointed."""
    (path,) = broker.audit_directory.glob("audit-*.jsonl")
    (notes,) = broker.audit_directory.glob("checkpoints-*.notes")
    signer, head, tree, lines = signer_of(MASTER), Head(), Frontier(), []
    for line in path.read_bytes().splitlines():
        members = {
            name: value for name, value in orjson.loads(line).items() if name not in {"seq", "prev", "kid", "sig"}
        }
        forged, head = link(head, {**members, "source_ip": "192.0.2.1"}, signer=signer)
        tree = tree.with_leaf(leaf_hash(forged))
        lines.append(forged + b"\n")
    instance = str(members["instance"])
    stated = Checkpoint(instance=instance, head=head, tree=tree, timestamp="2026-01-31T12:00:00Z")
    path.write_bytes(b"".join(lines))
    note = seal_checkpoint(stated, signers=[Ed25519NoteSigner(name=origin_of(instance), signer=signer)])
    notes.write_text(note + "\n")


def test_checkpoints_are_cosigned_and_verified_as_such(broker: BrokerProcess, witness: WitnessProcess) -> None:
    run_once(broker, witness)
    witness.kill()
    witness.start()
    run_once(broker, witness)
    checked = verify(broker, "--witness-key", witness.key, "--checkpoint", str(witness.notes()[0]))
    assert checked.returncode == 0, checked.stderr
    assert "behind the last checkpoint that witness.example.com/audit signed" in checked.stderr
    other = witness.key.replace("witness.example.com", "another.example.com")
    assert "--witness-key" in verify(broker, "--witness-key", other).stderr


async def test_a_log_that_was_written_anew_with_the_real_key_is_refused_and_somebody_is_called(
    broker: BrokerProcess, witness: WitnessProcess
) -> None:
    run_once(broker, witness)
    run_once(broker, witness)
    seen = witness.size()
    written_anew(broker)
    assert verify(broker).returncode == 0, "by itself the new log is flawless"
    broker.start()
    (alarm,) = alarms(broker)
    assert (alarm["reason"], alarm["severity"], alarm["cause"]) == ("witness_refused", "high", "audit")
    assert "422" in alarm["why"][0]
    # The record comes first, and what /readyz says behind it.
    await until(lambda: readiness(broker)["dependencies"]["witnesses"]["status"] == "degraded")
    assert witness.size() == seen, "it went on from a log that it never saw"
    broker.stop()
    checked = verify(broker, "--checkpoint", str(witness.notes()[0]))
    assert checked.returncode == 1
    assert f"first bad sequence number {seen}: not the record that the checkpoint in" in checked.stderr
    assert "no checkpoint has a signature of the witness" in verify(broker, "--witness-key", witness.key).stderr


def test_a_log_that_was_set_back_with_its_checkpoints_is_found_by_the_witness_s_note(
    broker: BrokerProcess, witness: WitnessProcess, tmp_path: Path
) -> None:
    run_once(broker, witness)
    shutil.copytree(broker.audit_directory, tmp_path / "copy")
    for _ in range(2):
        run_once(broker, witness)
    shutil.rmtree(broker.audit_directory)
    shutil.copytree(tmp_path / "copy", broker.audit_directory)
    assert verify(broker).returncode == 0, "by itself it is flawless"
    checked = verify(broker, "--checkpoint", str(witness.notes()[0]))
    assert checked.returncode == 1
    assert f"says that {witness.size()} records were written: the rest is missing" in checked.stderr
    broker.start()
    assert "the log was set back" in alarms(broker)[0]["why"][0]


def test_two_witnesses_in_one_folder_and_a_key_that_is_open_to_others_are_refused(witness: WitnessProcess) -> None:
    second = subprocess.run(witness.command(), capture_output=True, text=True, check=False, timeout=60)
    assert (second.returncode, "another witness uses it" in second.stderr) == (1, True)
    (witness.folder / "witness.pem").chmod(0o644)
    witness.kill()
    open_key = subprocess.run(witness.command(), capture_output=True, text=True, check=False, timeout=60)
    assert (open_key.returncode, "open to others" in open_key.stderr) == (1, True)
