"""An empty audit directory for every test that wants one."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.audit.signer import jwks_of, signer_of
from tests.fakes.audit import MASTER, Directory


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    path = tmp_path / "audit"
    path.mkdir(mode=0o750)
    return Directory(path=path, jwks=jwks_of(signer_of(MASTER)))
