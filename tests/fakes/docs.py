"""What the documentation prints for others to copy, so that tests use exactly that."""

from __future__ import annotations

import re
from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (_DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def vaults_policy() -> str:
    """The broker's policy in HashiCorp Vault and OpenBao."""
    return blocks("vaults.md", "hcl")[0]


def aws_policy() -> str:
    """The broker's IAM policy for Secrets Manager."""
    return blocks("vaults.md", "json")[0]


def kms_policy() -> str:
    """The broker's IAM policy for a master key in AWS KMS."""
    return blocks("vaults.md", "json")[1]
