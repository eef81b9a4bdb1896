"""AWS KMS on 127.0.0.1: moto's, with faults in front of it that moto does not have."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

REGION = "eu-central-1"


class KmsServer:
    """``with KmsServer() as kms: kms.url``. ``faults``: AWS's code by the action that fails with it, until it is taken out."""

    def __init__(self) -> None:
        self.faults: dict[str, str] = {}
        self.calls: list[str] = []
        self._moto: Callable[..., Iterable[bytes]] = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def client(self) -> Any:
        """Of an administrator."""
        return boto3.client(
            "kms",
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="AKIATESTTESTTESTTEST",
            aws_secret_access_key="x",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def make_key(self) -> str:
        """The ARN of a new symmetric key."""
        arn: str = self.client().create_key()["KeyMetadata"]["Arn"]
        return arn

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        action = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")[2]
        if action:
            self.calls.append(action)
        if code := self.faults.get(action):
            start("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
            return [json.dumps({"__type": code, "message": "no"}).encode()]
        return self._moto(environ, start)
