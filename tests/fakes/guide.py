"""The guide to secrets management, word for word, and the pieces of it that a reader copies."""

from __future__ import annotations

import re
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "vectors" / "guide" / "secrets-management-guide.md").read_text()


def python(name: str) -> str:
    """The example that begins with the import of this class, up to the next heading."""
    _, found, text = TEXT.partition(f"from zerotrust_kerberos import {name}\n")
    assert found, name
    code = re.split(r"^(?:Secure Configuration Loading|Conclusion)¶$", text, flags=re.MULTILINE)[0]
    before, block, inside = code.partition("with credentials as creds:\n")
    # The text has lost the indentation.
    return found + before + block + "".join(f"    {line}" for line in inside.splitlines(keepends=True))


def exports() -> list[str]:
    """The names of the variables that it sets."""
    return re.findall(r"^export (\w+)=", TEXT, re.MULTILINE)


def config_yaml() -> str:
    """Its configuration file. The text has lost the indentation: each section's one key stands below it."""
    match = re.search(r"^# config\.yaml\n(.*?)^Runtime Secret Handling", TEXT, re.MULTILINE | re.DOTALL)
    assert match is not None
    return "".join(line if line.endswith(":\n") else f"  {line}" for line in match[1].splitlines(keepends=True))
