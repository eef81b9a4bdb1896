"""What a start does not load: each of these costs every instance tens of milliseconds and megabytes, and serves few or none."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BROKER = REPOSITORY / "broker"

# For a vault of others, a proof on paper, traces, an HSM: loaded by whoever has one, at the start.
OF_SOME = {
    *("azure", "hvac", "maxminddb", "pkcs11", "reportlab", "requests", "stamina", "tenacity", "aiosmtplib"),
    *(
        "broker.remote.aws",
        "broker.remote.azure",
        "broker.remote.conjur",
        "broker.remote.hashicorp",
        "broker.remote.kubernetes",
    ),
}
# What libraries bring along that nobody here uses.
OF_NOBODY = {"boto3", "s3transfer"}
# As `serve` imports, in its order.
START = """
import sys
for line in {imports!r}:
    exec(line)
{after}
print(*sys.modules)
"""


def serving() -> list[str]:
    """The lines of `serve` that import, in their order."""
    tree = ast.parse((BROKER / "cli.py").read_text(encoding="utf-8"))
    [serve] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "serve"]
    return [ast.unparse(node) for node in serve.body if isinstance(node, ast.Import | ast.ImportFrom)]


def started(*, after: str = "") -> subprocess.CompletedProcess[str]:
    code = START.format(imports=serving(), after=after)
    env = {"PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120)


def test_a_start_loads_no_library_that_this_configuration_has_no_use_for() -> None:
    loaded = set(started().stdout.split())
    assert "broker.assembly.broker" in loaded
    assert loaded & (OF_SOME | OF_NOBODY) == set()


def test_what_only_some_have_is_found_by_who_has_it() -> None:
    after = """
from broker.assembly import clouds, master, providers, remote
from broker.config.secrets import ProviderConfig
config = ProviderConfig(url="http://127.0.0.1:1", region="eu-central-1", token="t", namespace="n")
for name in ("hashicorp", "kubernetes", "cyberark", "aws"):
    made = providers.PROVIDERS[name](providers.Parts(config, None, None, None))
    assert made.provider is not None
"""
    assert "hvac" in started(after=after).stdout.split()
