"""A secret in a file that somebody rotates."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.core.file_secret import FileText, current, secret_of
from broker.core.secret import Secret


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "secret"
    made.touch(mode=0o600)
    made.write_text("first\n")
    return made


def test_what_is_in_the_file_now_is_what_counts_now(file: Path) -> None:
    secret = secret_of(FileText.read(file))
    assert secret == Secret("first")
    file.write_text("second\n")
    assert current(secret) == Secret("second")
    assert secret == Secret("first")
    assert "first" not in repr(secret)


def test_a_file_that_cannot_be_used_leaves_what_it_held(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = secret_of(FileText.read(file))
    for spoil in (lambda: file.write_text(""), lambda: file.chmod(0o644), file.unlink):
        spoil()
        assert current(secret) == Secret("first")
    assert caplog.text.count("cannot be used") == 3
    assert "first" not in caplog.text


def test_a_secret_without_a_file_stays_what_it_is() -> None:
    assert current(secret_of("given")) == Secret("given")
