"""AWS Secrets Manager and KMS on 127.0.0.1: moto keeps what they keep, and a judge before it refuses what moto does not.

moto's server in its default mode looks at no signature, no permission, no region and no state of a KMS key (measured: a key
that is disabled goes on encrypting, an id that was never issued is let in). The judge verifies Signature Version 4 by code that
is not botocore's, knows its users' keys and permissions, its one region, what a KMS key refuses in its state, and the sizes and
names of Secrets Manager; it fails on demand.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError

import boto3

from tests.fakes.iam import IamServer
from tests.fakes.sts.sigv4 import SignedRequest, read_claim, region_of, verify
from tests.fakes.sts.wire import StsRefusal

REGION = "us-west-2"
KEY_ID, KEY = "AKIABROKERBROKER0001", "the-broker's/own+secret"
_KIND = "application/x-amz-json-1.1"
_SERVICES = {"secretsmanager": "secretsmanager", "TrentService": "kms"}
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_TEXT_MAX, _PLAIN_MAX = 65536, 4096
_NEEDS_A_KEY = {"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"}
_NOT_WHILE_DELETED = {"GetSecretValue", "PutSecretValue", "CreateSecret", "DeleteSecret"}
_HANG_SECONDS = 20.0
_PAGE = b"<!DOCTYPE html><html><body><h1>Sign in to this network</h1></body></html>\n"


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message


@dataclass(slots=True)
class _Fault:
    kind: str
    left: int | None


class AwsCloud:
    """``with AwsCloud(folder) as aws``: running at ``url``. ``calls`` are ``service:Action`` with their parameters."""

    def __init__(self, folder: Path) -> None:
        self.keys = {KEY_ID: KEY}
        self.expired: set[str] = set()
        # `service:Action` that the broker may do; None: all.
        self.allowed: set[str] | None = None
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._moto = IamServer(folder)
        self._faults: list[_Fault] = []
        self._clients: dict[str, Any] = {}
        self._awake = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._moto.__enter__()
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._awake.set()
        self._server.shutdown()
        self._server.server_close()
        self._moto.__exit__(kind, error, trace)

    def behind(self, service: str) -> Any:
        """boto3's client of what is kept, past the judge: an operator's hand."""
        if service not in self._clients:
            self._clients[service] = boto3.client(service, region_name=REGION, endpoint_url=self._moto.url)
        return self._clients[service]

    def renew(self) -> None:
        """As it was at the beginning: nothing kept, no fault, the first key."""
        urllib.request.urlopen(f"{self._moto.url}/moto-api/reset", data=b"", timeout=10).close()  # noqa: S310
        self.keys, self.expired, self.allowed = {KEY_ID: KEY}, set(), None
        self.recover()
        self.calls.clear()

    def key(self, alias: str) -> str:
        """A new KMS key with this alias."""
        kms = self.behind("kms")
        made: str = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName=alias, TargetKeyId=made)
        return made

    def fail(self, kind: str, *, times: int | None = None) -> None:
        """``throttle``, ``error500``, ``html``, ``empty``, ``hang``, ``skew``: instead of an answer; ``lost``: done, and 500."""
        assert kind in {"throttle", "error500", "html", "empty", "hang", "skew", "lost"}
        self._faults.append(_Fault(kind, times))

    def recover(self) -> None:
        """No faults any more."""
        self._faults.clear()
        self._awake.set()
        self._awake = threading.Event()

    def _answer(self, request: SignedRequest) -> tuple[int, str, bytes] | None:
        prefix, _, action = request.headers.get("x-amz-target", "").partition(".")
        service = _SERVICES.get(prefix, "")
        try:
            asked = json.loads(request.body)
        except ValueError:
            return _error(400, "SerializationException", "")
        self.calls.append((f"{service}:{action}", asked))
        if self._faults and self._faults[0].kind != "lost":
            return self._instead()
        try:
            self._authenticate(request, service)
            self._judge(service, action, asked)
        except _Refusal as refusal:
            return _error(refusal.status, refusal.code, refusal.message)
        done = self._forwarded(request, f"{service}:{action}")
        return self._instead() if self._faults else done

    def _authenticate(self, request: SignedRequest, service: str) -> None:
        try:
            claim = read_claim(request, now=datetime.now(UTC), service=service)
            if claim.access_key_id not in self.keys:
                text = "The security token included in the request is invalid."
                raise _Refusal(400, "UnrecognizedClientException", text)
            verify(request, claim, self.keys[claim.access_key_id])
        except StsRefusal as error:
            raise _Refusal(403, "InvalidSignatureException", error.why) from error
        if claim.access_key_id in self.expired:
            raise _Refusal(400, "ExpiredTokenException", "The security token included in the request is expired")
        if region_of(request) != REGION:
            text = f"Credential should be scoped to a valid region, not '{region_of(request)}'. "
            raise _Refusal(400, "InvalidSignatureException", text)
        if request.headers.get("content-type") != _KIND:
            raise _Refusal(400, "UnknownOperationException", "")

    def _judge(self, service: str, action: str, asked: Mapping[str, Any]) -> None:
        if self.allowed is not None and f"{service}:{action}" not in self.allowed:
            text = f"User: arn:aws:iam::123456789012:user/broker is not authorized to perform: {service}:{action}"
            raise _Refusal(400, "AccessDeniedException", text)
        if f"{service}:{action}" in _NEEDS_A_KEY:
            self._judge_key(asked["KeyId"])
        if service == "secretsmanager":
            self._judge_secret(action, asked)

    def _judge_key(self, key_id: str) -> None:
        kms = self.behind("kms")
        try:
            state = kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"]
        except kms.exceptions.NotFoundException:
            raise _Refusal(400, "NotFoundException", f"Key '{key_id}' does not exist") from None
        if state == "Disabled":
            raise _Refusal(400, "DisabledException", f"{key_id} is disabled.")
        if state != "Enabled":
            raise _Refusal(400, "KMSInvalidStateException", f"{key_id} is {state}.")

    def _judge_secret(self, action: str, asked: Mapping[str, Any]) -> None:
        name = asked.get("Name") or asked.get("SecretId") or ""
        if name and not _NAME.fullmatch(name):
            raise _Refusal(400, "ValidationException", "Invalid name.")
        if len(asked.get("SecretString", "").encode()) > _TEXT_MAX:
            raise _Refusal(400, "ValidationException", "SecretString is too long")
        if action in {"CreateSecret", "PutSecretValue"} and not 32 <= len(asked.get("ClientRequestToken", "")) <= 64:
            raise _Refusal(400, "InvalidParameterException", "You must provide a ClientRequestToken value.")
        manager = self.behind("secretsmanager")
        try:
            kept = manager.describe_secret(SecretId=name) if name else {}
        except manager.exceptions.ResourceNotFoundException:
            kept = {}
        if kept.get("DeletedDate") and action in _NOT_WHILE_DELETED:
            text = "You can't perform this operation on the secret because it was marked for deletion."
            if action == "CreateSecret":
                text = "You can't create this secret because a secret with this name is already scheduled for deletion."
            raise _Refusal(400, "InvalidRequestException", text)
        key = asked.get("KmsKeyId") or kept.get("KmsKeyId")
        if key and action in {"CreateSecret", "PutSecretValue", "GetSecretValue"}:
            try:
                self._judge_key(key)
            except _Refusal as refusal:
                code = "DecryptionFailure" if action == "GetSecretValue" else "EncryptionFailure"
                raise _Refusal(400, code, f"Secrets Manager can't use the KMS key: {refusal.code}") from refusal

    def _forwarded(self, request: SignedRequest, action: str) -> tuple[int, str, bytes]:
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
        sent = urllib.request.Request(self._moto.url, data=request.body, headers=headers, method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(sent, timeout=10) as answer:  # noqa: S310
                return answer.status, _KIND, answer.read()
        except HTTPError as error:
            body = error.read()
            if action == "kms:Decrypt" and b"AccessDenied" in body:
                # What moto says of a blob that was made with another key than the one that is named.
                return _error(
                    400, "IncorrectKeyException", "The key ID in the request does not identify a key that can"
                )
            return error.code, _KIND, body

    def _instead(self) -> tuple[int, str, bytes] | None:
        fault = self._faults[0]
        if fault.left is not None:
            fault.left -= 1
            if fault.left == 0:
                self._faults.remove(fault)
        match fault.kind:
            case "throttle":
                return _error(400, "ThrottlingException", "Rate exceeded")
            case "error500" | "lost":
                return _error(500, "InternalServiceError", "An error occurred on the server side.")
            case "skew":
                return _error(400, "InvalidSignatureException", "Signature expired: 2026 is now earlier than 2027")
            case "html":
                return 200, "text/html", _PAGE
            case "empty":
                return 200, _KIND, b""
        self._awake.wait(_HANG_SECONDS)
        return None

    def _handler(cloud) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # "self" is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                path, _, query = self.path.partition("?")
                answer = cloud._answer(SignedRequest("POST", path, query, headers, body))
                if answer is None:
                    self.close_connection = True
                    return
                status, kind, text = answer
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        return Handler


def _error(status: int, code: str, message: str) -> tuple[int, str, bytes]:
    return status, _KIND, json.dumps({"__type": code, "message": message}).encode()
