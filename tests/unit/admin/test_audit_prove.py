"""`audit prove` and `audit check-proof`: what a proof shows to somebody who has it and the public keys, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from broker.admin.cli import main
from broker.audit.signer import jwks_of, signer_of
from tests.fakes.audit import MASTER, Directory, Log

OTHER_KEY = jwks_of(signer_of(bytes(32)))


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    path = tmp_path / "audit"
    path.mkdir(mode=0o750)
    return Directory(path=path, jwks=jwks_of(signer_of(MASTER)))


@pytest.fixture
def jwks(directory: Directory, tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(directory.jwks))
    return path


def run(command: str, *arguments: object, piped: str = "") -> Result:
    invoked = ["audit", command, *map(str, arguments)]
    result = CliRunner().invoke(main, invoked, env={"ZEROTRUST_CONFIG": "/nowhere"}, input=piped)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def refused(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("not proved: ")
    return result.stderr


def a_log() -> Log:
    return Log().add(4).checkpoint().add(7).checkpoint()


@pytest.mark.parametrize("number", range(1, 12))
def test_a_record_is_proved_to_be_in_the_log(directory: Directory, jwks: Path, number: int) -> None:
    log = a_log()
    directory.put(log)
    proof = run("prove", number, directory.path, "--jwks", jwks).stdout
    assert json.loads(proof)["record"].encode() == log.lines[number - 1]
    shown = run("check-proof", "-", "--jwks", jwks, piped=proof)
    assert shown.exit_code == 0
    assert shown.stdout == (
        f"good: record {number} (issued) is in the log of host-1 as it was at 2026-01-31T12:00:00Z, with 11 records\n"
    )


def test_a_request_id_proves_each_of_its_records(directory: Directory, jwks: Path) -> None:
    log = Log().add(2).add(2, request_id="the-one").checkpoint()
    directory.put(log).put(Log(instance="host-2").add(3).checkpoint())
    proofs = run("prove", "the-one", directory.path, "--jwks", jwks).stdout
    assert [json.loads(json.loads(line)["record"])["seq"] for line in proofs.splitlines()] == [3, 4]
    assert run("check-proof", "-", "--jwks", jwks, piped=proofs).stdout.count("good: ") == 2


def test_a_number_that_two_instances_have_proves_both(directory: Directory, jwks: Path) -> None:
    directory.put(a_log()).put(Log(instance="host-2").add(3).checkpoint())
    assert len(run("prove", "2", directory.path, "--jwks", jwks).stdout.splitlines()) == 2
    assert len(run("prove", "9", directory.path, "--jwks", jwks).stdout.splitlines()) == 1


def test_a_checkpoint_that_was_kept_proves_that_the_log_goes_on_from_it(
    directory: Directory, jwks: Path, tmp_path: Path
) -> None:
    log = a_log()
    directory.put(log)
    kept = tmp_path / "kept.note"
    kept.write_text(log.checkpoints[0])
    proof = run("prove", kept, directory.path, "--jwks", jwks).stdout
    shown = run("check-proof", "-", "--jwks", jwks, piped=proof)
    assert "with 11 records, goes on from its first 4" in shown.stdout
    other = Log().add(4, role="administrator").add(7).checkpoint()
    directory.put(other)
    assert "does not go on" in refused(run("prove", kept, directory.path, "--jwks", jwks))
    directory.put(Log(instance="host-2").add(3).checkpoint())
    (directory.path / "audit-host-1.jsonl").unlink()
    (directory.path / "checkpoints-host-1.notes").unlink()
    assert "no log of host-1" in refused(run("prove", kept, directory.path, "--jwks", jwks))


def test_a_proof_that_is_bent_shows_nothing(directory: Directory, jwks: Path, tmp_path: Path) -> None:
    log = a_log()
    directory.put(log)
    good = json.loads(run("prove", 3, directory.path, "--jwks", jwks).stdout)
    foreign = Log(instance="host-2").add(11).checkpoint()
    for bent in (
        good | {"record": log.lines[3].decode()},
        good | {"record": good["record"].replace("developer", "superuser")},
        good | {"record": foreign.lines[2].decode()},
        good | {"checkpoint": foreign.checkpoints[-1]},
        good | {"checkpoint": log.checkpoints[0]},
        good | {"checkpoint": good["checkpoint"].replace("\n11\n", "\n12\n")},
        good | {"inclusion": good["inclusion"][1:]},
        good | {"inclusion": good["inclusion"][::-1]},
        good | {"inclusion": ["?"]},
        good | {"inclusion": "x"},
        {"earlier": log.checkpoints[0], "checkpoint": foreign.checkpoints[0], "consistency": []},
        {"earlier": log.checkpoints[0], "checkpoint": log.checkpoints[1], "consistency": []},
        {"record": "\ud800", "checkpoint": good["checkpoint"], "inclusion": []},
        [],
        {},
    ):
        refused(run("check-proof", "-", "--jwks", jwks, piped=json.dumps(bent)))
    refused(run("check-proof", "-", "--jwks", jwks, piped="not JSON"))
    jwks.write_text(json.dumps(OTHER_KEY))
    refused(run("check-proof", "-", "--jwks", jwks, piped=json.dumps(good)))


def test_what_no_checkpoint_states_yet_or_what_is_not_there_is_not_proved(directory: Directory, jwks: Path) -> None:
    log = Log().add(3).checkpoint().add(1)
    directory.put(log)
    assert "in a minute" in refused(run("prove", 4, directory.path, "--jwks", jwks))
    assert "no record has" in refused(run("prove", 5, directory.path, "--jwks", jwks))
    assert "no record has" in refused(run("prove", "developer", directory.path, "--jwks", jwks))
    (directory.path / "checkpoints-host-1.notes").unlink()
    assert "no checkpoint" in refused(run("prove", 1, directory.path, "--jwks", jwks))


def test_a_log_that_is_not_what_its_checkpoint_states_proves_nothing(directory: Directory, jwks: Path) -> None:
    log = a_log()
    directory.put(log)
    log.lines[7] = log.lines[7].replace(b"developer", b"superuser")
    directory.records(log.records())
    assert "not what its checkpoint states" in refused(run("prove", 3, directory.path, "--jwks", jwks))
