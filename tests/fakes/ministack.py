"""ministack on 127.0.0.1: IAM and STS of as many accounts as a test wants, which hold calls against policies as AWS does.

What its sessions may do is decided by its own evaluator, also by `aws:TokenIssueTime`; see ``ministack_main`` for the fact that
it lacks. Durations, chains and charsets are the strict STS's to judge.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

_REPOSITORY = Path(__file__).parents[2]
_PYTHON = _REPOSITORY / ".venv" / "ministack" / "bin" / "python"
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Keys:
    """Somebody's credentials."""

    key_id: str
    secret: str
    token: str | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Keys:
        """In an answer of the broker, or of AssumeRole."""
        token = body.get("SessionToken")
        return cls(body["AccessKeyId"], body["SecretAccessKey"], token)


class MiniStack:
    """``with MiniStack(folder) as aws: ... aws.url``: running, empty, gone at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if not _PYTHON.exists():
            raise RuntimeError("run: requirements/apart.sh ministack")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "SERVICES": "iam,sts",
        }
        output = (self._folder / "ministack.log").open("wb")
        with output:
            self._process = subprocess.Popen(
                [_PYTHON, "-P", Path(__file__).with_name("ministack_main.py")],
                cwd=self._folder,
                env=env,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            time.sleep(0.05)
        self.__exit__(None, None, None)
        raise RuntimeError(f"ministack does not listen:\n{(self._folder / 'ministack.log').read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()  # it keeps nothing
            self._process.wait()

    def client(self, service: str, keys: Keys) -> Any:
        """boto3's client of a service, as somebody."""
        return boto3.client(
            service,
            region_name="eu-central-1",
            endpoint_url=self.url,
            aws_access_key_id=keys.key_id,
            aws_secret_access_key=keys.secret,
            aws_session_token=keys.token,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def root(self, account: str) -> Any:
        """boto3's IAM client of an account's owner."""
        return self.client("iam", Keys(account, "test"))

    def user(self, arn: str, policy: Mapping[str, Any]) -> Keys:
        """A new IAM user with one inline policy, and its key."""
        account, name = arn.split(":")[4], arn.rpartition("/")[2]
        iam = self.root(account)
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Keys(key["AccessKeyId"], key["SecretAccessKey"])

    def role(self, arn: str, *, trust: Mapping[str, Any], policy: Mapping[str, Any]) -> None:
        """A new role with one inline policy."""
        account, name = arn.split(":")[4], arn.rpartition("/")[2]
        path = "/" + arn.partition(":role/")[2].removesuffix(name)
        iam = self.root(account)
        iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps(trust))
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))

    def inline(self, arn: str) -> dict[str, Any]:
        """The inline policies of a role, by name."""
        account, name = arn.split(":")[4], arn.rpartition("/")[2]
        iam = self.root(account)
        return {
            policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        }

    def may(self, keys: Keys) -> bool:
        """Whether somebody is let do what is allowed in ``LIST``."""
        try:
            self.client("iam", keys).list_roles()
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
            return False
        return True
