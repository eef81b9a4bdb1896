"""The AWS tools that people use, each told to say who it is: what it prints and how it ends."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fakes.broker import PROGRAMS

_BOTO3 = "import boto3; print(boto3.Session().client('sts').get_caller_identity()['Arn'])"
# The default chain hides every reason; the provider of one door, asked by name, tells it.
_JAVASCRIPT = """
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { fromHttp, fromInstanceMetadata, fromProcess } from "@aws-sdk/credential-providers";
const doors = { credential_process: fromProcess, container: fromHttp, IMDSv2: fromInstanceMetadata };
try {
  console.log((await new STSClient({}).send(new GetCallerIdentityCommand({}))).Arn);
} catch (error) {
  console.error(`chain: ${error.message}`);
  await doors[process.env.DOOR]({ maxRetries: 0 })().catch((why) => {
    console.error(`provider: ${why.message} ${why.Message ?? ""}`);
  });
  process.exitCode = 1;
}
"""
_IDENTITY = ("sts", "get-caller-identity", "--query", "Arn", "--output", "text")
_AT_ONCE = 4

# By the name that docs/tools.md has for it. Each finds its credentials by its own default chain.
TOOLS: dict[str, tuple[str, ...]] = {
    "AWS CLI 1": (str(PROGRAMS / "aws"), *_IDENTITY),
    "AWS CLI 2.9": ("/usr/bin/aws", *_IDENTITY),
    "boto3": (str(PROGRAMS / "python"), "-c", _BOTO3),
    "JavaScript SDK": (str(PROGRAMS / "node"), "--no-warnings", "who.mjs"),
}


def neighbours(folder: Path, sts_url: str) -> dict[str, str]:
    """What all of them have in common, but for the door: nothing of the machine's, and the STS to ask."""
    (folder / "who.mjs").write_text(_JAVASCRIPT)
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(PROGRAMS.parent / "javascript" / "node_modules")
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "AWS_CONFIG_FILE": str(folder / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL_STS": sts_url,
        "AWS_MAX_ATTEMPTS": "1",
        # Its second is soon over on a loaded machine.
        "AWS_METADATA_SERVICE_TIMEOUT": "20",
    }


def run(env: Mapping[str, str], folder: Path, sts_url: str) -> dict[str, subprocess.CompletedProcess[str]]:
    """Each of them once, by its name."""

    def one(name: str) -> subprocess.CompletedProcess[str]:
        command = list(TOOLS[name])
        own = dict(env)
        if name == "AWS CLI 2.9":
            command += ["--endpoint-url", sts_url]  # it knows no variable for that
            if file := own.pop("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", ""):
                own["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = Path(file).read_text()  # nor for that
        return subprocess.run(command, env=own, cwd=folder, capture_output=True, text=True, check=False, timeout=300)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(TOOLS, pool.map(one, TOOLS), strict=True))
