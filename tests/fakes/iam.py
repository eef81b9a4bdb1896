"""A moto server on 127.0.0.1: IAM of as many accounts as a test wants, and a profile for each."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3

_START_SECONDS = 20.0


class IamServer:
    """``with IamServer(folder) as iam``: running, empty. Good for documents; it judges nobody's calls."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self.config = folder / "aws-config"
        self._profiles: dict[str, dict[str, str]] = {}
        self._clients: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        program = Path(sys.executable).parent / "moto_server"
        self._process = subprocess.Popen(
            [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            time.sleep(0.05)
        raise RuntimeError("moto_server does not listen")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def profile(self, account: str) -> str:
        """The name of a profile of this account. moto knows a session's account by the role that it was made of."""
        name = f"account-{account}"
        if name not in self._profiles:
            sts = self._client("sts", {"aws_access_key_id": "AKIATESTTESTTESTTEST", "aws_secret_access_key": "x"})
            made = sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/Operator", RoleSessionName="operator")
            self._profiles[name] = {
                "aws_access_key_id": made["Credentials"]["AccessKeyId"],
                "aws_secret_access_key": made["Credentials"]["SecretAccessKey"],
                "aws_session_token": made["Credentials"]["SessionToken"],
            }
            sections = [
                f"[profile {profile}]\nregion = eu-central-1\n"
                + "".join(f"{key} = {value}\n" for key, value in keys.items())
                for profile, keys in self._profiles.items()
            ]
            self.config.write_text("\n".join(sections))
        return name

    def iam(self, account: str) -> Any:
        """boto3's IAM client of an account."""
        if account not in self._clients:
            self._clients[account] = self._client("iam", self._profiles[self.profile(account)])
        return self._clients[account]

    def role(self, arn: str, *, trust: Mapping[str, Any], seconds: int = 3600) -> None:
        """Create a role, or set what it is like."""
        account, path, name = _parts(arn)
        iam = self.iam(account)
        try:
            iam.create_role(
                RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps(trust), MaxSessionDuration=seconds
            )
        except iam.exceptions.EntityAlreadyExistsException:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
            iam.update_role(RoleName=name, MaxSessionDuration=seconds)

    def permissions(self, arn: str, document: Mapping[str, Any]) -> None:
        """Set the inline policy of a role or user."""
        account, _, name = _parts(arn)
        text = json.dumps(document)
        if ":user/" in arn:
            self.iam(account).put_user_policy(UserName=name, PolicyName="next", PolicyDocument=text)
        else:
            self.iam(account).put_role_policy(RoleName=name, PolicyName="next", PolicyDocument=text)

    def user(self, arn: str) -> None:
        """Create a user, unless it is there."""
        account, path, name = _parts(arn)
        iam = self.iam(account)
        if name not in [user["UserName"] for user in iam.list_users()["Users"]]:
            iam.create_user(UserName=name, Path=path)

    def _client(self, service: str, keys: Mapping[str, str]) -> Any:
        return boto3.client(service, region_name="eu-central-1", endpoint_url=self.url, **keys)


def _parts(arn: str) -> tuple[str, str, str]:
    path, _, name = arn.partition("/")[2].rpartition("/")
    return arn.split(":")[4], f"/{path}/" if path else "/", name
