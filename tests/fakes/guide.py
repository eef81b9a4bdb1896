"""The pieces of the guide to secrets management that its readers copy, as it prints them but for indentation that it lost."""

from __future__ import annotations

import re
from pathlib import Path

_PRINTED = Path(__file__).parents[1] / "vectors" / "guide"
_PROGRAMS = {"ConfigLoader": "config_loader.py.txt", "SecretManager": "secret_manager.py.txt"}


def python(name: str) -> str:
    """The program that shows this class."""
    return (_PRINTED / _PROGRAMS[name]).read_text()


def exports() -> list[str]:
    """The names of the variables that it sets."""
    return re.findall(r"^export (\w+)=", (_PRINTED / "environment.sh").read_text(), re.MULTILINE)


def config_yaml() -> str:
    """Its configuration file."""
    return (_PRINTED / "config.yaml").read_text()
