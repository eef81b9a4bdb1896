"""`zerotrust-admin audit verify`: 0 where all is well, else 1 with the first bad number; 78 for a bad configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from broker.admin.cli import main
from broker.audit.signer import jwks_of, signer_of
from tests.fakes.audit import MASTER, Directory, Log


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


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", "verify", *map(str, arguments)], env={"ZEROTRUST_CONFIG": "/nowhere"})


def failed(result: Result, *, code: int = 1) -> str:
    """The one line on stderr; an exception that reached the top would be in `result.exception`."""
    assert result.exit_code == code
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_good_directory_ends_with_0_and_says_what_was_checked(directory: Directory, jwks: Path) -> None:
    directory.put(Log().add(5).checkpoint())
    result = verify("--jwks", jwks, directory.path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "good: 5 records, 1 instances, 1 checkpoints checked\n"


def test_a_good_file_ends_with_0_and_notes_what_it_could_not_know(directory: Directory, jwks: Path) -> None:
    path = directory.records(Log().add(5).records())
    result = verify("--jwks", jwks, path)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"note: {path}: no checkpoint beside it")


@pytest.mark.parametrize("number", range(1, 6))
def test_a_bad_record_ends_with_1_and_its_number(directory: Directory, jwks: Path, number: int) -> None:
    log = Log().add(5).checkpoint()
    log.lines[number - 1] = log.lines[number - 1].replace(b"developer", b"superuser")
    directory.put(log)
    for root in (directory.path, directory.path / "audit-host-1.jsonl"):
        result = verify("--jwks", jwks, root)
        assert f"first bad sequence number {number}: the signature does not match" in failed(result)
        assert result.stdout.startswith("BAD: ")


def test_a_missing_file_is_named(directory: Directory, jwks: Path) -> None:
    assert "nowhere.jsonl: No such file" in failed(verify("--jwks", jwks, directory.path / "nowhere.jsonl"))
    assert "nowhere.json: " in failed(verify("--jwks", directory.path / "nowhere.json", directory.path))


def test_an_empty_directory_has_nothing_to_be_good(directory: Directory, jwks: Path) -> None:
    assert "no audit records in" in failed(verify("--jwks", jwks, directory.path))


def test_an_emptied_file_is_not_good(directory: Directory, jwks: Path) -> None:
    assert "holds no records" in failed(verify("--jwks", jwks, directory.records(b"")))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b"{}",
        b'{"keys":[]}',
        b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"!","kid":"k"}]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_jwks_that_is_none_is_named_with_the_way_to_get_one(directory: Directory, jwks: Path, content: bytes) -> None:
    directory.put(Log().add(5).checkpoint())
    jwks.write_bytes(content)
    assert str(jwks) in failed(verify("--jwks", jwks, directory.path))


def test_the_keys_of_another_broker_do_not_do(directory: Directory, jwks: Path) -> None:
    directory.put(Log().add(5).checkpoint())
    jwks.write_text(json.dumps(jwks_of(signer_of(bytes(32)))))
    result = verify("--jwks", jwks, directory.path)
    assert result.exit_code == 1
    assert "first bad sequence number 1: no key" in result.stderr


def test_without_keys_and_without_a_configuration_the_configuration_is_at_fault(directory: Directory) -> None:
    assert "/nowhere" in failed(verify(directory.path), code=78)
